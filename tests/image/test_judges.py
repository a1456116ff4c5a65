import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import files, pixels
from dae_pacs.image.support import reason_not_denoised

# dicom3tools of 2022 forbids an Enhanced MR image's acquisition attributes as soon as it is DERIVED; dropping
# them to please it would lose what the physicist needs. The one file here that shows it lacks its groups.
ENHANCED_MR = re.compile(
    r"Attribute present when condition unsatisfied .*Module=<(MRPulseSequence|BulkMotion)"
)


def untouched(ds: Dataset) -> np.ndarray:
    return pixels.decode(ds).stored


def messages(path: Path) -> set[str]:
    result = subprocess.run(["dciodvfy", str(path)], capture_output=True, check=False)
    lines = (result.stdout + result.stderr).decode("latin-1").splitlines()
    # A source's own illegal UID is told again where it is referenced.
    return {re.sub(r'- "[^"]*" in .*', "", line) for line in lines if line.startswith(("Error", "Warning"))}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
def test_dciodvfy_says_nothing_new(
    all_dicom_files: list[Path], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    judged: set[tuple[Any, ...]] = set()
    for path in all_dicom_files:
        try:
            source = files.read(path)
            if reason_not_denoised(source) or source.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1.99":
                continue
            # One of each kind of object and encoding is enough; of CT, each maker's.
            kind = (source.SOPClassUID, source.file_meta.TransferSyntaxUID, path.parent.name)
            if kind in judged:
                continue
            judged.add(kind)
            derived = derive_now(source, untouched(files.read(path)))
        except InputError:
            continue
        files.write(derived, tmp_path / "derived.dcm")
        new = {
            line
            for line in messages(tmp_path / "derived.dcm") - messages(path)
            if not ENHANCED_MR.search(line)
        }
        assert not new, path
    assert len(judged) >= 8


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools is not installed")
@pytest.mark.parametrize(
    ("number", "modality", "image_type"),
    [
        ("1", "CR", ["DERIVED", "PRIMARY"]),
        ("1.1", "DX", ["DERIVED", "PRIMARY", ""]),
        ("1.1.1", "DX", ["ORIGINAL", "PRIMARY", ""]),
        ("1.2", "MG", ["DERIVED", "PRIMARY", ""]),
        ("1.3", "IO", ["ORIGINAL", "PRIMARY", ""]),
        ("4", "MR", ["ORIGINAL", "PRIMARY", "OTHER"]),
        ("6.1", "US", ["ORIGINAL", "PRIMARY"]),
        ("12.1", "XA", ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]),
        ("12.2", "RF", ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]),
        ("20", "NM", ["ORIGINAL", "PRIMARY", "STATIC", "EMISSION"]),
        ("128", "PT", ["ORIGINAL", "PRIMARY"]),
        ("7", "OT", ["ORIGINAL", "PRIMARY"]),
        ("2.1", "CT", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
        ("12.1.1", "XA", ["ORIGINAL", "PRIMARY", "SINGLE PLANE", "NONE"]),
        ("13.1.3", "MG", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]),
    ],
)
def test_dciodvfy_says_nothing_new_of_any_class(
    grey_image: Callable[..., Dataset],
    enhanced_image: Callable[..., Dataset],
    derive_now: Callable[..., Dataset],
    tmp_path: Path,
    *,
    number: str,
    modality: str,
    image_type: list[str],
) -> None:
    cells = np.random.default_rng(0).integers(0, 4000, (8, 8), dtype=np.uint16)
    elements: dict[str, Any] = {"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{number}", "Manufacturer": "Maker"}
    if number in ("2.1", "12.1.1", "13.1.3"):
        groups = enhanced_image(1, has_own_derivation=False)
        elements["SharedFunctionalGroupsSequence"] = groups.SharedFunctionalGroupsSequence
        elements["PerFrameFunctionalGroupsSequence"] = groups.PerFrameFunctionalGroupsSequence
        elements["NumberOfFrames"] = 1
    source = grey_image(cells, Modality=modality, ImageType=image_type, **elements)
    files.write(source, tmp_path / "source.dcm")
    source = files.read(tmp_path / "source.dcm")
    files.write(derive_now(source, untouched(source)), tmp_path / "derived.dcm")
    assert messages(tmp_path / "derived.dcm") <= messages(tmp_path / "source.dcm")
