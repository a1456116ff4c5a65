from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dae_pacs.image import derive as derive_module
from dae_pacs.image.derive import Derivation

SHARED = Path(__file__).parents[3] / "shared" / "data"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data"


@pytest.fixture(scope="session")
def shared_dicom() -> Path:
    folder = SHARED / "dicom"
    if not folder.is_dir():
        pytest.skip("../shared/data is not here")
    return folder


@pytest.fixture(scope="session")
def all_dicom_files() -> list[Path]:
    """pydicom's own files, which are always here, and ../shared/data where it is."""
    files = sorted(PYDICOM_FILES.rglob("*.dcm"))
    if SHARED.is_dir():
        files += sorted(
            path for path in (SHARED / "dicom").rglob("*") if path.is_file() and path.suffix != ".zst"
        )
    return files


@pytest.fixture
def grey_image() -> Callable[..., Dataset]:
    """Make a CT-like object in memory; keywords set or, with None, delete elements."""

    def make(cells: NDArray[Any], **elements: Any) -> Dataset:
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
        ds.Modality, ds.PatientName, ds.PatientID = "CT", "Test^Grey", "P1"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        frames = cells if cells.ndim == 3 else cells[np.newaxis]
        if cells.ndim == 3:
            ds.NumberOfFrames = len(frames)
        ds.Rows, ds.Columns = frames.shape[1:]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        bits = 8 * cells.dtype.itemsize
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
        ds.PixelRepresentation = int(cells.dtype.kind == "i")
        keyword = {"f4": "FloatPixelData", "f8": "DoubleFloatPixelData"}.get(cells.dtype.str[1:], "PixelData")
        data = cells.astype(cells.dtype.newbyteorder("<")).tobytes()
        setattr(ds, keyword, data + b"\0" * (len(data) % 2))
        if keyword == "PixelData":
            ds["PixelData"].VR = "OW"
        for name, value in elements.items():
            if value is None:
                del ds[name]
            else:
                setattr(ds, name, value)
        return ds

    return make


@pytest.fixture
def derivation() -> Derivation:
    return Derivation(
        model_name="xray_radiograph_denoising",
        model_version="1.0.0",
        model_digest="ab" * 32,
        strength=0.7,
        description="{source} denoised s={strength:.1f}",
        ae_title="DAE_PACS",
    )


@pytest.fixture
def derive_now(derivation: Derivation) -> Callable[..., Dataset]:
    """Derive with fixed settings."""

    def make(source: Dataset, stored: NDArray[Any], **changes: Any) -> Dataset:
        arguments = {
            "derivation": derivation,
            "content_digest": "c" * 64,
            "series_number": 1002,
            "now": datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC),
        }
        return derive_module.derive(source, stored, **(arguments | changes))

    return make


@pytest.fixture
def enhanced_image(grey_image: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Make an Enhanced CT-like object with functional groups."""

    def make(frames: int, *, has_own_derivation: bool) -> Dataset:
        cells = np.random.default_rng(0).integers(0, 4000, (frames, 4, 4), dtype=np.uint16)
        own, shared, frame_type = [], Dataset(), Dataset()
        frame_type.FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
        shared.CTImageFrameTypeSequence = [frame_type]
        for _ in range(frames):
            group, position = Dataset(), Dataset()
            position.ImagePositionPatient = [0, 0, 1]
            group.PlanePositionSequence = [position]
            if has_own_derivation:
                group.DerivationImageSequence = [Dataset()]
            own.append(group)
        return grey_image(
            cells,
            SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1",
            ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=own,
        )

    return make
