"""Find the series in files and folders, with their slices in the order of space."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom.dataset import Dataset

from dae_pacs.errors import InputError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header, summarise
from dae_pacs.image.support import reason_not_denoised
from dae_pacs.image.volume import is_volume

# First bytes of the raster formats that `raster` reads.
_RASTER_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# A file so named that is no DICOM is broken rather than something else; many DICOM files have no suffix.
_DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class SeriesFiles:
    """The images of one series, in the order of their place in space."""

    SeriesInstanceUID: str
    StudyInstanceUID: str
    Modality: str
    SeriesNumber: int | None
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Scan:
    """What was found."""

    series: tuple[SeriesFiles, ...]
    rasters: tuple[Path, ...]
    """Pictures and researchers' volumes."""
    passed_over: tuple[tuple[Path, str], ...]
    """What is sound and not ours to denoise, or no image at all, with the reason."""
    unreadable: tuple[tuple[Path, str], ...]
    """What should have been readable and is not, with the reason."""


@dataclass
class _Findings:
    slices: dict[tuple[str, str], list["_Slice"]] = field(default_factory=lambda: defaultdict(list))
    rasters: list[Path] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Slice:
    path: Path
    SOPInstanceUID: str
    Modality: str
    SeriesNumber: int | None
    order: tuple[float, ...]


def scan(paths: Iterable[Path]) -> Scan:
    """Walk files and folders; tell DICOM and pictures by content, volumes by their names."""
    findings = _Findings()
    seen: set[Path] = set()
    for path in paths:
        for file in _files(path, findings.unreadable):
            real = file.resolve()
            if real not in seen:
                seen.add(real)
                _sort_in(file, findings)
    series = tuple(
        _series(study, uid, slices, findings.passed_over) for (study, uid), slices in findings.slices.items()
    )
    return Scan(series, tuple(findings.rasters), tuple(findings.passed_over), tuple(findings.unreadable))


def _files(path: Path, problems: list[tuple[Path, str]]) -> Iterator[Path]:
    """Yield the files under a path in a stable order; what can't be walked is named."""
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        problems.append((path, "there is no such file or folder"))
        return
    found = 0
    for folder, folders, names in os.walk(path, onerror=lambda error: problems.append((path, str(error)))):
        folders.sort()
        for name in sorted(names):
            found += 1
            yield Path(folder) / name
    if not found:
        problems.append((path, "the folder holds no file"))


def _sort_in(path: Path, findings: _Findings) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(8)
            is_dicom = _has_dicom_prefix(file)
            if not is_dicom and (start.startswith(_RASTER_STARTS) or is_volume(path)):
                findings.rasters.append(path)
                return
            file.seek(0)
            ds = read_header(file)
    except OSError as error:
        findings.unreadable.append((path, f"it can't be read: {error.strerror or error}"))
        return
    except InputError as error:
        looks_like_dicom = is_dicom or path.suffix.lower() in _DICOM_SUFFIXES
        (findings.unreadable if looks_like_dicom else findings.passed_over).append((path, str(error)))
        return
    reason = reason_not_denoised(ds)
    if reason is not None:
        findings.passed_over.append((path, reason))
        return
    key = (peek.string(ds, "StudyInstanceUID"), peek.string(ds, "SeriesInstanceUID"))
    found = _Slice(
        path,
        peek.string(ds, "SOPInstanceUID"),
        peek.string(ds, "Modality"),
        summarise(ds).SeriesNumber,
        slice_order(ds),
    )
    findings.slices[key].append(found)


def _has_dicom_prefix(file: BinaryIO) -> bool:
    """Say whether a file is DICOM, whatever its preamble looks like (PS3.10 section 7.1)."""
    file.seek(128)
    return file.read(4) == b"DICM"


def _series(study: str, uid: str, slices: list[_Slice], passed_over: list[tuple[Path, str]]) -> SeriesFiles:
    kept: dict[str, _Slice] = {}
    for found in slices:
        first = kept.setdefault(found.SOPInstanceUID, found)
        if first is not found:
            passed_over.append(
                (found.path, f"the same SOP Instance UID as {first.path}; only that one is used")
            )
    in_order = sorted(kept.values(), key=lambda found: (found.order, str(found.path)))
    first = in_order[0]
    paths = tuple(found.path for found in in_order)
    return SeriesFiles(uid, study, first.Modality, first.SeriesNumber, paths)


def slice_order(ds: Dataset) -> tuple[float, ...]:
    """Return what sorts a slice: its place along the stack's normal, then its number.

    ITK's and GDCM's series readers sort by the same projection of Image Position (Patient) on the normal
    (PS3.3 section C.7.6.2.1.1), but drop slices of equal place, which a dynamic series has many of.
    """
    number = _number_or_zero(ds, "InstanceNumber")
    try:
        position = np.array(peek.numbers(ds, "ImagePositionPatient"))
        orientation = np.array(peek.numbers(ds, "ImageOrientationPatient"))
    except InputError:
        return (0.0, 0.0, number)
    if (
        position.shape != (3,)
        or orientation.shape != (6,)
        or not np.isfinite([*position, *orientation]).all()
    ):
        return (0.0, 0.0, number)
    normal = np.cross(orientation[:3], orientation[3:])
    place = float(np.round(position @ normal, 3))
    # A localizer of two directions: slices of one direction stay together.
    return (float(np.round(np.abs(normal), 2) @ (100.0, 10.0, 1.0)), place, number)


def _number_or_zero(ds: Dataset, keyword: str) -> float:
    try:
        return peek.number(ds, keyword) or 0.0
    except InputError:
        return 0.0
