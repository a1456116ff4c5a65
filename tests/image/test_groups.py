from collections.abc import Callable

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dae_pacs.image import pixels


def untouched(ds: Dataset) -> np.ndarray:
    return pixels.decode(ds).stored


@pytest.mark.parametrize("has_own_derivation", [False, True])
def test_functional_groups_are_kept_and_say_derived(
    enhanced_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], has_own_derivation: bool
) -> None:
    source = enhanced_image(3, has_own_derivation=has_own_derivation)
    derived = derive_now(source, untouched(source))
    assert list(derived.ImageType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    shared = derived.SharedFunctionalGroupsSequence[0]
    assert list(shared.CTImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
    own = derived.PerFrameFunctionalGroupsSequence
    assert [list(group.PlanePositionSequence[0].ImagePositionPatient) for group in own] == [[0, 0, 1]] * 3
    holders = own if has_own_derivation else [shared]
    for index, group in enumerate(holders):
        reference = group.DerivationImageSequence[-1].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.get("ReferencedFrameNumber") == (index + 1 if has_own_derivation else None)
    assert ("DerivationImageSequence" in shared) is not has_own_derivation
    assert "SourceImageSequence" not in derived
    evidence = derived.SourceImageEvidenceSequence[0]
    assert evidence.StudyInstanceUID == source.StudyInstanceUID
    series = evidence.ReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    assert series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert source.SharedFunctionalGroupsSequence[0].CTImageFrameTypeSequence[0].FrameType[0] == "ORIGINAL"
