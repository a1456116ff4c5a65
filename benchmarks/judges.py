"""Ask the public judges about every derived object: do they say anything that they don't say of its source?

    python benchmarks/judges.py     dciodvfy, dcentvfy (dicom3tools) and dicom-validator, over everything here

The tests in tests/judges use the same functions.
"""

import hashlib
import logging
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicom_validator.spec_reader.edition_reader import EditionReader
from dicom_validator.validator.dicom_file_validator import DicomFileValidator
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from dae_pacs.errors import InputError
from dae_pacs.image import files, peek, pixels
from dae_pacs.image.derive import Derivation, derive
from dae_pacs.image.elements import exact_copy
from dae_pacs.image.removed import difference
from dae_pacs.image.support import reason_not_denoised

SHARED = Path(__file__).resolve().parents[2] / "shared"
SPECIFICATION = SHARED / "dicom-validator-spec"
EDITION = "2020a"
_SOP_CLASS = "1.2.840.10008.5.1.4.1.1."
# What a denoiser of strength 0 would write into the header: the pixels stay, so that judges see our header.
DERIVATION = Derivation(
    model_name="xray_radiograph_denoising",
    model_version="1.0.0",
    model_digest="ab" * 32,
    strength=0.0,
    description="{source} denoised s={strength:.1f}",
    ae_title="DAE_PACS",
)
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SERIES_NUMBER = 1002

_EITHER_WAY = (
    "dicom3tools of 2022 forbids it once Image Type value 1 is DERIVED; PS3.3 (MR Pulse Sequence, C.8.13.4) "
    'says "Required if Image Type (0008,0008) Value 1 is ORIGINAL or MIXED. May be present otherwise."'
)
_SAME_AS_SOURCE = (
    'the same, and PS3.3 says of it: "Otherwise may be present if Image Type Value 1 is DERIVED and" its '
    "companion has the value that required it in the source, which is copied with it"
)
_BULK_MOTION = _EITHER_WAY.replace("MR Pulse Sequence, C.8.13.4", "Bulk Motion Synchronization")
_FORBIDDEN = (
    "Error - Attribute present when condition unsatisfied (which may not be present otherwise) "
    "Type 1C Conditional Element=<{}> Module=<{}>"
)
# Messages that contradict the standard's text, each with its reason (text: PyPI dicom-standard 0.1.0). MIXED
# is no way round them: it is for instances whose frames differ in Frame Type value 1 (PS3.3 C.8.16.1.1).
FALSE_ALARMS: dict[str, str] = {
    **{
        _FORBIDDEN.format(element, "MRPulseSequence"): _EITHER_WAY
        for element in (
            "PulseSequenceName",
            "MRAcquisitionType",
            "EchoPulseSequence",
            "MultiPlanarExcitation",
            "PhaseContrast",
            "TimeOfFlightContrast",
            "SteadyStatePulseSequence",
            "EchoPlanarPulseSequence",
            "SaturationRecovery",
            "SpectrallySelectedSuppression",
            "OversamplingPhase",
            "GeometryOfKSpaceTraversal",
            "SegmentedKSpaceTraversal",
            "CoverageOfKSpace",
            "NumberOfKSpaceTrajectories",
        )
    },
    _FORBIDDEN.format("RectilinearPhaseEncodeReordering", "MRPulseSequence"): _SAME_AS_SOURCE,
    _FORBIDDEN.format("BulkMotionCompensationTechnique", "BulkMotionSynchronization"): _BULK_MOTION,
}


@dataclass(frozen=True)
class Pair:
    """A source and what was derived from it, both as files that a judge can read."""

    name: str
    source: Path
    derived: Path


def grey_objects() -> Iterator[tuple[str, Path]]:
    """Name each distinct file at hand: ../shared/data, pydicom's own, pydicom-data's."""
    roots = [SHARED / "data" / "dicom", Path(pydicom.__file__).parent / "data"]
    try:
        import data_store  # noqa: PLC0415  the package of pydicom-data, an optional extra

        roots.append(Path(data_store.__file__).parent / "data")
    except ImportError:
        pass
    seen = set()
    for root in roots:
        for path in sorted(root.rglob("*")):
            if not path.is_file() or path.suffix in (".zst", ".py", ".json", ".pyc", ".txt"):
                continue
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if digest not in seen:
                seen.add(digest)
                yield f"{root.parent.name}/{path.relative_to(root)}", path


def derive_unchanged(source: Dataset) -> Dataset:
    """Derive with strength 0.

    Raises:
        InputError: it does not decode.
    """
    return _derive(source, pixels.decode(source).stored, DERIVATION)


def derive_removed(source: Dataset) -> Dataset:
    """Derive the series of what was removed: nothing, as it is.

    Raises:
        InputError: it does not decode, or its class can't carry a difference.
    """
    image = pixels.decode(source)
    nothing = difference(image.stored, image.stored, image.layout)
    return _derive(source, nothing, replace(DERIVATION, kind="removed", window_sigma=20.0))


def _derive(source: Dataset, stored: NDArray[np.generic], derivation: Derivation) -> Dataset:
    return derive(
        source, stored, derivation=derivation, content_digest="c" * 64, series_number=SERIES_NUMBER, now=NOW
    )


def make_pairs(
    folder: Path, objects: Iterable[tuple[str, Path]], make: Callable[[Dataset], Dataset] = derive_unchanged
) -> Iterator[Pair]:
    """Derive from each object that can be denoised; the rest is passed over, as the node would."""
    for number, (name, path) in enumerate(objects):
        derived = folder / f"{make.__name__}-{number}.dcm"
        try:
            source = files.read(path)
            if reason_not_denoised(source):
                continue
            files.write(make(source), derived)
        except InputError:
            continue
        judged = path
        if source.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
            # dciodvfy reads no deflated data set: it is shown the same elements inflated.
            judged = folder / f"{number}-inflated.dcm"
            inflated = exact_copy(source, lambda _ds, _tag: True)
            inflated.file_meta = FileMetaDataset()
            inflated.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            files.write(inflated, judged)
        yield Pair(name, judged, derived)


SYNTHETIC: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("1", "CR", ("DERIVED", "PRIMARY")),
    ("1.1", "DX", ("DERIVED", "PRIMARY", "")),
    ("1.1.1", "DX", ("ORIGINAL", "PRIMARY", "")),
    ("1.2", "MG", ("DERIVED", "PRIMARY", "")),
    ("1.2.1", "MG", ("ORIGINAL", "PRIMARY", "")),
    ("1.3", "IO", ("ORIGINAL", "PRIMARY", "")),
    ("1.3.1", "IO", ("ORIGINAL", "PRIMARY", "")),
    ("2", "CT", ("ORIGINAL", "PRIMARY", "LOCALIZER")),
    ("4", "MR", ("ORIGINAL", "PRIMARY", "OTHER")),
    ("6.1", "US", ("ORIGINAL", "PRIMARY")),
    ("12.1", "XA", ("ORIGINAL", "PRIMARY", "SINGLE PLANE")),
    ("12.2", "RF", ("ORIGINAL", "PRIMARY", "SINGLE PLANE")),
    ("20", "NM", ("ORIGINAL", "PRIMARY", "STATIC", "EMISSION")),
    ("128", "PT", ("ORIGINAL", "PRIMARY")),
    ("7", "OT", ("ORIGINAL", "PRIMARY")),
    ("7.2", "OT", ("ORIGINAL", "PRIMARY")),
    ("7.3", "OT", ("ORIGINAL", "PRIMARY")),
    ("2.1", "CT", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
    ("4.1", "MR", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
    ("12.1.1", "XA", ("ORIGINAL", "PRIMARY", "SINGLE PLANE", "NONE")),
    ("12.2.1", "RF", ("ORIGINAL", "PRIMARY", "SINGLE PLANE", "NONE")),
    ("13.1.1", "DX", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
    ("13.1.2", "CT", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
    ("13.1.3", "MG", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
    ("130", "PT", ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")),
)
_MULTI_FRAME = frozenset({"7.2", "7.3", "12.1", "12.2", "20"})
_INTENTS = {
    **dict.fromkeys(("1.1", "1.2", "1.3"), "FOR PRESENTATION"),
    **dict.fromkeys(("1.1.1", "1.2.1", "1.3.1"), "FOR PROCESSING"),
}
_FRAME_TYPES = {
    "2.1": "CTImageFrameTypeSequence",
    "4.1": "MRImageFrameTypeSequence",
    "12.1.1": "XAXRFFrameCharacteristicsSequence",
    "12.2.1": "XAXRFFrameCharacteristicsSequence",
    "13.1.1": "XRay3DFrameTypeSequence",
    "13.1.2": "XRay3DFrameTypeSequence",
    "13.1.3": "XRay3DFrameTypeSequence",
    "130": "PETFrameTypeSequence",
}


def synthetic(number: str, modality: str, image_type: tuple[str, ...]) -> Dataset:
    """Make a bare object of a SOP class; a judge finds much wrong with it, but derived nothing more."""
    frames = 2 if number in _MULTI_FRAME or number in _FRAME_TYPES else 1
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.Modality, ds.ImageType = _SOP_CLASS + number, modality, list(image_type)
    ds.SOPInstanceUID, ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
    ds.PatientName, ds.PatientID, ds.Manufacturer, ds.SeriesNumber = "Test^Grey", "P1", "Maker", 1
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    bits = 8 if number == "7.2" else 16
    ds.Rows, ds.Columns, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, bits, bits, bits - 1
    if frames > 1:
        ds.NumberOfFrames = frames
    cells = np.random.default_rng(0).integers(0, 200 if bits == 8 else 4000, (frames, 8, 8))
    ds.add_new("PixelData", "OB" if bits == 8 else "OW", cells.astype(f"<u{bits // 8}").tobytes())
    if number in _INTENTS:
        ds.PresentationIntentType = _INTENTS[number]
    if number in _FRAME_TYPES:
        ds.SharedFunctionalGroupsSequence = [_shared_group(_FRAME_TYPES[number], image_type)]
        ds.PerFrameFunctionalGroupsSequence = [_frame_group(index) for index in range(frames)]
    return ds


def _shared_group(keyword: str, image_type: tuple[str, ...]) -> Dataset:
    shared, frame_type = Dataset(), Dataset()
    frame_type.FrameType = list(image_type)
    setattr(shared, keyword, [frame_type])
    return shared


def _frame_group(index: int) -> Dataset:
    group, position = Dataset(), Dataset()
    position.ImagePositionPatient = [0, 0, index]
    group.PlanePositionSequence = [position]
    return group


def write_synthetic(folder: Path) -> Iterator[tuple[str, Path]]:
    """Write one synthetic object of each SOP class."""
    for number, modality, image_type in SYNTHETIC:
        path = folder / f"synthetic-{number}.dcm"
        files.write(synthetic(number, modality, image_type), path)
        yield path.stem, path


def dciodvfy(path: Path) -> set[str]:
    """Return dciodvfy's errors and warnings."""
    lines = _told("dciodvfy", path)
    # Where it cites the value of a source's own illegal UID, the place is not what is wrong.
    found = {re.sub(r'- "[^"]*" in .*', "", line) for line in lines if line.startswith(("Error", "Warning"))}
    return {re.sub(r"\(0x0008,0x(0018|1155)\) UI .*?UI \[", "(UID) [", line) for line in found}


def dcentvfy(paths: Iterable[Path]) -> set[str]:
    """Return what dcentvfy finds inconsistent among files of one study."""
    return {re.sub(r"(for file|versus) <.*?>", "", line) for line in _told("dcentvfy", *paths)}


def _told(program: str, *paths: Path) -> list[str]:
    result = subprocess.run([program, *map(str, paths)], capture_output=True, check=False)
    lines = (result.stdout + result.stderr).decode("latin-1").splitlines()
    return [line for line in map(str.strip, lines) if line]


class Validator:
    """dicom-validator with its tables loaded."""

    def __init__(self) -> None:
        # It logs every finding to the root logger.
        self._validator = DicomFileValidator(
            EditionReader(SPECIFICATION).load_dicom_info(EDITION),
            log_level=logging.CRITICAL,
            error_handler=self,
        )

    def __call__(self, path: Path) -> set[str]:
        """Return an object's errors, and its status where the class is one without a table."""
        mode = pydicom.config.settings.reading_validation_mode
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                (result,) = self._validator.validate(path).values()
        finally:
            # It switches pydicom's own validation off, for everybody.
            pydicom.config.settings.reading_validation_mode = mode
        said = set() if result.status.name in ("Passed", "Failed") else {result.status.name}
        for module, errors in result.module_errors.items():
            said |= {_in_words(f"{module}: {tag}", error) for tag, error in errors.items()}
        return said

    def handle_validation_start(self, _result: Any) -> None:
        """Stay quiet."""

    def handle_validation_result(self, _result: Any) -> None:
        """Stay quiet."""


def _in_words(place: str, error: Any) -> str:
    context = error.context or {}
    if context.get("VR") == "UI":
        # A source's own illegal UID, told again where it is referenced.
        place = "UID"
    return " ".join([place, error.code.name, *(f"{key}={value}" for key, value in sorted(context.items()))])


def studies(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Group pairs by study; one file of each SOP instance: the same image lies here in many syntaxes."""
    groups: dict[str, dict[str, Pair]] = defaultdict(dict)
    for pair in pairs:
        ds = files.read(pair.source)
        groups[peek.string(ds, "StudyInstanceUID")].setdefault(peek.string(ds, "SOPInstanceUID"), pair)
    return [list(group.values()) for group in groups.values()]


def new_messages(pairs: Iterable[Pair]) -> Iterator[tuple[str, str, str]]:
    """Yield judge, object and message for all that a judge says of a derived object alone."""
    pairs = list(pairs)
    judges: dict[str, Any] = {"dciodvfy": dciodvfy}
    if SPECIFICATION.is_dir():
        judges["dicom-validator"] = Validator()
    for pair in pairs:
        for name, judge in judges.items():
            for message in sorted(judge(pair.derived) - judge(pair.source)):
                yield name, pair.name, message
    for group in studies(pairs):
        sources = [pair.source for pair in group]
        for message in sorted(dcentvfy([*sources, *(p.derived for p in group)]) - dcentvfy(sources)):
            yield "dcentvfy", group[0].name, message


def main() -> None:
    from results import record  # noqa: PLC0415  beside this file, which the tests load from elsewhere

    if shutil.which("dciodvfy") is None or not SPECIFICATION.is_dir():
        sys.exit("dicom3tools or ../shared/dicom-validator-spec is missing; nothing is recorded")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = [*grey_objects(), *write_synthetic(folder)]
        pairs = [*make_pairs(folder, objects), *make_pairs(folder, objects, derive_removed)]
        found = list(new_messages(pairs))
    alarms = [entry for entry in found if entry[2] in FALSE_ALARMS]
    for judge, object_name, message in found:
        print(f"{judge}: {object_name}: {message}")
    print(f"{len(pairs)} objects, {len(found)} new messages, of which {len(alarms)} contradict the standard")
    objects_hit = len({entry[1] for entry in alarms})
    kinds = Counter(re.findall(r"Module=<(\w+)>", "\n".join(entry[2] for entry in alarms)))
    note = (
        f"{len(pairs)} derived objects (denoised, and what was removed) under three judges. "
        f"{len(found) - len(alarms)} messages without an explanation; {len(alarms)} of dciodvfy on "
        f"{objects_hit} Enhanced MR objects "
        f"({', '.join(f'{kind} {count}' for kind, count in kinds.items())}) contradict PS3.3, which says "
        '"May be present otherwise" of each: listed with their reasons in benchmarks/judges.py'
    )
    record([{"id": "judge_new_messages", "value": len(found), "unit": "", "note": note}])


if __name__ == "__main__":
    main()
