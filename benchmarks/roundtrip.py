"""Send every DICOM file at hand through the derived file and back at strength 0, and count what is not exact.

    python benchmarks/roundtrip.py

The files are those of ../shared/data/dicom, of pydicom and of pydicom-data. Each that can be denoised is
decoded a run of frames at a time, encoded, written as a derived object and read again: once uncompressed and
once in each lossless coding that can hold it. What does not decode is listed with its reason and pydicom's
opinion.
"""

import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from results import record

from dae_pacs.errors import InputError
from dae_pacs.image import files
from dae_pacs.image.compress import SYNTAXES, Compression, reason_not_compressed
from dae_pacs.image.derive import Derivation, derive_header
from dae_pacs.image.pixel_file import pixel_file
from dae_pacs.image.pixels import Image, decode_run, encode, open_image
from dae_pacs.image.support import reason_not_denoised

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom"
_OTHER_FILES = frozenset([".py", ".pyc", ".zst", ".json", ".md", ".txt", ".zip", ".gz", ".icc", ".dump"])
DERIVATION = Derivation("none", "0", "0" * 64, 0.0, "{source} round trip", "DAE_PACS")


def main() -> None:
    exact, inexact = 0, []
    passed_over: Counter[str] = Counter()
    undecodable: list[tuple[Path, str]] = []
    codings: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="roundtrip-") as name:
        for path in _paths():
            try:
                ds = files.open_object(path)
                if reason := reason_not_denoised(ds):
                    passed_over[reason.split("(")[0].split(":")[0].strip()] += 1
                    continue
                image = open_image(ds)
                held = [kind for kind in SYNTAXES if reason_not_compressed(image.layout, kind) is None]
                is_exact = all(_is_exact(image, kind, Path(name) / "x") for kind in held)
            except InputError as error:
                undecodable.append((path, str(error)))
                continue
            codings.update(held)
            if is_exact:
                exact += 1
            else:
                inexact.append(path)
    _tell(inexact, passed_over, undecodable)
    seen = exact + len(inexact) + passed_over.total() + len(undecodable)
    note = (
        f"{seen} DICOM files: {passed_over.total()} passed over ({_counted(passed_over)}); "
        f"{len(undecodable)} do not decode, listed in docs/codecs.md; written as {_counted(codings)}"
    )
    record(
        [
            {"id": "roundtrip_files", "value": exact + len(inexact), "unit": "files", "note": note},
            {"id": "roundtrip_inexact", "value": len(inexact), "unit": "files", "note": "in any coding"},
        ]
    )


def _paths() -> Iterator[Path]:
    """Yield the files at hand that are DICOM by their own words, each content once."""
    roots = [SHARED, Path(pydicom.__file__).parent / "data"]
    spec = find_spec("data_store")
    if spec is not None:
        roots += [Path(place) for place in spec.submodule_search_locations or ()]
    seen = set()
    for root in roots:
        for path in sorted(root.rglob("*")):
            if not path.is_file() or path.suffix in _OTHER_FILES or path.name == "README":
                continue
            digest = files.file_digest(path)
            if digest not in seen:
                seen.add(digest)
                yield path


def _is_exact(image: Image, compression: Compression, target: Path) -> bool:
    """Write the object at strength 0 and compare every stored value with what is read back."""
    header = derive_header(
        image.ds,
        derivation=DERIVATION,
        content_digest="",
        series_number=1,
        now=datetime.now(UTC),
        compression=compression,
    )
    with pixel_file(target, header, with_extremes=True) as add:
        for first, stop in image.layout.runs():
            decoded = decode_run(image, first, stop)
            add(encode(decoded.values.copy(), decoded))
    again = open_image(files.open_object(target))
    return all(
        decode_run(image, *run).stored.tobytes() == decode_run(again, *run).stored.tobytes()
        for run in image.layout.runs()
    )


def _tell(inexact: list[Path], passed_over: Counter[str], undecodable: list[tuple[Path, str]]) -> None:
    for path in inexact:
        print(f"NOT EXACT {path}")
    for reason, count in passed_over.most_common():
        print(f"passed over: {count} files: {reason}")
    for path, reason in undecodable:
        print(f"does not decode: {path.name}: {reason.removeprefix(f'{path}: ')} [{_second_opinion(path)}]")


def _second_opinion(path: Path) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = np.asarray(pixel_array(path))
    except Exception as error:  # noqa: BLE001  whatever pydicom and its plugins raise is its opinion
        return f"pydicom: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return f"pydicom: decodes to {values.shape} {values.dtype}"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


if __name__ == "__main__":
    main()
