"""Made-up studies with known truth: what tests and benchmarks send when no real image may be at hand.

Every object is complete enough that dciodvfy says nothing about it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    generate_uid,
)

from dae_pacs.noise.simulate import correlated

CT_SIGMA_HU = 20.0
"""Noise of the made-up CT: that of a thin slice at a modest dose."""
XRAY_GAIN = 2.0
XRAY_SIGMA = 4.0
"""Noise variance of the made-up radiographs: gain x signal + sigma², in stored units."""


@dataclass(frozen=True)
class Study:
    """One made-up patient's study: what its objects have in common."""

    name: str = "Phantom^Made Up"
    patient_id: str = "PHANTOM-1"
    accession: str = "A0001"
    uid: str = field(default_factory=generate_uid)
    taken: datetime = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)


def ct_series(
    study: Study, *, slices: int = 4, size: int = 128, seed: int = 0, series_number: int = 2
) -> list[Dataset]:
    """Make an axial CT series of an elliptic head with inserts; HU, 12 bits stored."""
    rng = np.random.default_rng(seed)
    series_uid, frame_of_reference = generate_uid(), generate_uid()
    made = []
    for k in range(slices):
        noisy = correlated(_head(size), gain=0.0, sigma=CT_SIGMA_HU, blur_px=0.6, rng=rng)
        ds = _common(study, CTImageStorage, series_uid, series_number)
        _set_stored(ds, np.clip(np.round(noisy + 1024), 0, 4095).astype(np.uint16), bits=12)
        ds.update(_ct_attributes(k, frame_of_reference))
        ds.InstanceNumber = k + 1
        made.append(ds)
    return made


def radiograph(
    study: Study, modality: str, *, rows: int = 320, columns: int = 256, seed: int = 0, series_number: int = 1
) -> Dataset:
    """Make a CR or DX radiograph with trabecular-looking texture; grey, 12 bits stored."""
    rng = np.random.default_rng(seed)
    clean = _limb(rows, columns, rng)
    noisy = correlated(clean, gain=XRAY_GAIN, sigma=XRAY_SIGMA, blur_px=0.6, rng=rng)
    make: dict[str, tuple[str, Callable[[], Dataset]]] = {
        "CR": (ComputedRadiographyImageStorage, _cr_attributes),
        "DX": (DigitalXRayImageStorageForPresentation, _dx_attributes),
    }
    sop_class, attributes = make[modality]
    ds = _common(study, sop_class, generate_uid(), series_number)
    _set_stored(ds, np.clip(np.round(noisy), 0, 4095).astype(np.uint16), bits=12)
    ds.update(attributes())
    ds.InstanceNumber = 1
    return ds


def write_all(objects: list[Dataset], folder: Path) -> list[Path]:
    """Write objects as Part 10 files into a folder, named by their number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k, ds in enumerate(objects):
        path = folder / f"{ds.Modality}{ds.SeriesNumber}-{k + 1:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _head(size: int) -> NDArray[np.float32]:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.full((size, size), -1000.0)
    radius = (x / 0.75) ** 2 + (y / 0.9) ** 2
    image[radius < 1] = 900.0
    image[radius < 0.82] = 40.0
    for cx, cy, r, hu in ((0.3, 0.2, 0.1, 80.0), (-0.3, 0.2, 0.14, 10.0), (0.0, -0.35, 0.05, 300.0)):
        image[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = hu
    return np.asarray(image, dtype=np.float32)


def _limb(rows: int, columns: int, rng: np.random.Generator) -> NDArray[np.float32]:
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    image = 600 + 900 * np.exp(-(((x - 0.5) / 0.22) ** 2)) + 150 * y
    image += 300 * ((np.abs(x - 0.42) < 0.02) | (np.abs(x - 0.58) < 0.02))
    for _ in range(40):  # thin struts at random angles: fine structure that a careless filter wipes out
        angle, shift = rng.uniform(0, np.pi), rng.uniform(-0.7, 0.7)
        strut = np.abs((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle) - shift) * columns < 1.2
        image += 60 * (strut & (np.abs(x - 0.5) < 0.07))
    return np.asarray(image, dtype=np.float32)


def _common(study: Study, sop_class: str, series_uid: str, series_number: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, generate_uid()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientName, ds.PatientID = study.name, study.patient_id
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study.uid, series_uid
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", study.accession, ""
    ds.SeriesNumber = series_number
    day, hour = f"{study.taken:%Y%m%d}", f"{study.taken:%H%M%S}"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = day
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = hour
    ds.Manufacturer, ds.ManufacturerModelName = "dae-pacs", "phantom"
    return ds


def _set_stored(ds: Dataset, stored: NDArray[np.uint16], *, bits: int) -> None:
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, bits, bits - 1, 0
    ds.PixelData = stored.tobytes()


def _ct_attributes(k: int, frame_of_reference: str) -> Dataset:
    ds = Dataset()
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesDescription, ds.BodyPartExamined, ds.PatientPosition = "Head 5.0", "HEAD", "HFS"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = frame_of_reference, ""
    ds.ImageOrientationPatient, ds.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-120, -120, 5.0 * k]
    ds.PixelSpacing, ds.SliceThickness, ds.SliceLocation = [1.875, 1.875], 5, 5.0 * k
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -1024, 1, "HU"
    ds.WindowCenter, ds.WindowWidth, ds.KVP, ds.AcquisitionNumber = 40, 100, 120, 1
    return ds


def _cr_attributes() -> Dataset:
    ds = Dataset()
    ds.Modality, ds.ImageType = "CR", ["ORIGINAL", "PRIMARY"]
    ds.SeriesDescription, ds.BodyPartExamined, ds.ViewPosition = "Knee AP", "KNEE", "AP"
    ds.ImageLaterality, ds.PatientOrientation, ds.KVP = "L", ["L", "F"], 60
    ds.PixelSpacing = ds.ImagerPixelSpacing = [0.2, 0.2]
    ds.WindowCenter, ds.WindowWidth = 1200, 2000
    return ds


def _dx_attributes() -> Dataset:
    ds = Dataset()
    ds.Modality, ds.ImageType = "DX", ["ORIGINAL", "PRIMARY", ""]
    ds.SeriesDescription, ds.BodyPartExamined, ds.PresentationIntentType = (
        "Knee AP",
        "KNEE",
        "FOR PRESENTATION",
    )
    ds.ImageLaterality, ds.PatientOrientation = "L", ["L", "F"]
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.PresentationLUTShape, ds.LossyImageCompression, ds.BurnedInAnnotation = "IDENTITY", "00", "NO"
    ds.ImagerPixelSpacing, ds.DetectorType, ds.PositionerType = [0.2, 0.2], "DIRECT", "NONE"
    ds.WindowCenter, ds.WindowWidth = 1200, 2000
    ds.AcquisitionContextSequence = []
    ds.AnatomicRegionSequence = [_code("72696002", "SCT", "Knee")]
    ds.ViewCodeSequence = [_code("399348003", "SCT", "antero-posterior")]
    return ds


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, scheme, meaning
    return ds
