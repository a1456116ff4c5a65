"""dciodvfy, dcentvfy and dicom-validator say of a derived object only what they say of its source."""

import re
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pydicom
import pytest

from dae_pacs.image import files

dicom3tools = pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")


@dicom3tools
def test_dciodvfy_says_nothing_new(judging: ModuleType, pairs: list[Any]) -> None:
    new = {
        (pair.name, message)
        for pair in pairs
        for message in judging.dciodvfy(pair.derived) - judging.dciodvfy(pair.source)
        if message not in judging.FALSE_ALARMS
    }
    assert not new
    assert len(pairs) >= 40


def test_dicom_validator_says_nothing_new(judging: ModuleType, pairs: list[Any]) -> None:
    if not judging.SPECIFICATION.is_dir():
        pytest.skip("../shared/dicom-validator-spec is not here")
    validate = judging.Validator()
    said = [(pair.name, validate(pair.derived), validate(pair.source)) for pair in pairs]
    assert not {(name, message) for name, derived, source in said for message in derived - source}
    assert sum(not source for _, _, source in said) >= 10, "some objects have nothing wrong with them"


def test_dicom_validator_sees_what_is_wrong(judging: ModuleType, pairs: list[Any], tmp_path: Path) -> None:
    if not judging.SPECIFICATION.is_dir():
        pytest.skip("../shared/dicom-validator-spec is not here")
    pair = next(pair for pair in pairs if pair.name.endswith("CT_small.dcm"))
    ds = pydicom.dcmread(pair.derived)
    del ds.ImageType
    ds.save_as(tmp_path / "wrong.dcm")
    assert judging.Validator()(tmp_path / "wrong.dcm") - judging.Validator()(pair.derived)


@dicom3tools
def test_dcentvfy_finds_study_and_derived_series_consistent(judging: ModuleType, pairs: list[Any]) -> None:
    groups = judging.studies(pairs)
    for group in groups:
        sources = [pair.source for pair in group]
        derived = [pair.derived for pair in group]
        assert judging.dcentvfy([*sources, *derived]) <= judging.dcentvfy(sources), group[0].name
    assert len(groups) >= 20
    # And that it would have spoken.
    other = pydicom.dcmread(groups[0][0].derived)
    other.SOPInstanceUID, other.PatientName, other.SeriesNumber = "1.2.3.4", "Somebody^Else", 77
    path = groups[0][0].derived.with_name("other-patient.dcm")
    other.save_as(path)
    assert judging.dcentvfy([groups[0][0].derived, path])


def test_each_false_alarm_is_one_that_the_element_itself_disproves(
    judging: ModuleType, pairs: list[Any]
) -> None:
    """PS3.3 lets RectilinearPhaseEncodeReordering stay only where the k-space is RECTILINEAR."""
    enhanced = [pair for pair in pairs if "emri_small" in pair.name]
    for pair in enhanced:
        derived = files.read(pair.derived)
        assert derived.ImageType[0] == "DERIVED"
        if "RectilinearPhaseEncodeReordering" in derived:
            assert derived.GeometryOfKSpaceTraversal == "RECTILINEAR"
    for message, reason in judging.FALSE_ALARMS.items():
        assert re.search(r"Element=<\w+> Module=<\w+>", message)
        assert "May be present otherwise" in reason or "may be present if" in reason


@dicom3tools
def test_what_was_removed_is_judged_like_the_denoised(
    judging: ModuleType, pairs: list[Any], tmp_path: Path
) -> None:
    """Of one object of each class: the benchmark judges all."""
    kinds = {}
    for pair in pairs:
        kinds.setdefault(pydicom.dcmread(pair.source, specific_tags=["SOPClassUID"]).SOPClassUID, pair)
    sources = [(pair.name, pair.source) for pair in kinds.values()]
    removed = list(judging.make_pairs(tmp_path, sources, judging.derive_removed))
    new = {entry for entry in judging.new_messages(removed) if entry[2] not in judging.FALSE_ALARMS}
    assert not new
    assert len(removed) >= 15
