"""`dae-pacs validate`: what differs between a derived object and its source, and whether it may."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from rich.console import Console

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.cli.objects import files_of
from dae_pacs.cli.spool import open_ledger
from dae_pacs.config.load import load
from dae_pacs.errors import InputError, NoiseError, SpoolError
from dae_pacs.image import files, peek
from dae_pacs.image.check import Verdict, check
from dae_pacs.image.compare import Sigma
from dae_pacs.image.header import read_header
from dae_pacs.image.pixels import decode_run, open_image
from dae_pacs.noise.estimate import estimate, fallback


def run(derived: Sequence[Path], *, source: Path | None, config: Path | None) -> int:
    """Print every difference of each object from its source; 1 when one is not allowed.

    Raises:
        ConfigError: settings are wrong.
    """
    found = files_of(derived)
    for problem in found.problems:
        say_error(problem)
    sources = Sources(source, config)
    console = Console(soft_wrap=True, highlight=False)
    failed = bool(found.problems)
    for path in found.files:
        try:
            ds = files.open_object(path)
            origin = files.open_object(sources.of(ds, path))
            verdict = check(origin, ds, sigma_of=_sigma_of(origin))
        except InputError as error:
            say_error(f"{path}: {error}")
            failed = True
            continue
        _print(console, path, verdict)
        failed |= not verdict.is_right
    return FAILED if failed else OK


def _print(console: Console, path: Path, verdict: Verdict) -> None:
    wrong = [finding for finding in verdict.findings if not finding.may_differ]
    allowed = [finding for finding in verdict.findings if finding.may_differ]
    judged = "is a right derivation of its source" if not wrong else f"has {len(wrong)} fault(s)"
    console.print(f"{path} {judged}", style="bold", markup=False)
    for finding in wrong:
        console.print(f"  WRONG {finding.what}: {finding.words}", style="red", markup=False)
    private = [finding for finding in allowed if finding.what.startswith("(")]  # no keyword: a bare tag
    for finding in allowed:
        if finding not in private:
            console.print(f"  {finding.what}: {finding.words}", markup=False)
    for words, count in Counter(finding.words for finding in private).items():
        console.print(f"  {count} elements without a keyword: {words}", markup=False)
    console.print(f"  {verdict.same} elements are the source's, byte for byte", markup=False)


@dataclass
class Sources:
    """Where originals are looked for: what was named, or the object's own folder and the node's ledger."""

    named: Path | None
    config: Path | None

    def of(self, derived: Dataset, path: Path) -> Path:
        """Find the file that a derived object was made of.

        Raises:
            InputError: it names no source, or the source is nowhere.
        """
        if self.named is not None and self.named.is_file():
            return self.named
        uid = referenced_source(derived)
        if not uid:
            raise InputError("it names no source image; name the original with --source")
        folder = path.parent if self.named is None else self.named
        match = next((file for file in files_of([folder]).files if _uid_of(file) == uid), None)
        match = match or (self._in_ledger(uid) if self.named is None else None)
        if match is None:
            where = f"in {folder}" if self.named is not None else f"in {folder} or the node's spool"
            raise InputError(f"its source is not {where}; name the original, or its folder, with --source")
        return match

    def _in_ledger(self, uid: str) -> Path | None:
        try:
            with open_ledger(load(self.config)) as ledger:
                instance = ledger.received(uid)
        except SpoolError:
            return None  # no node has run here: the object's own folder was the only place
        return instance.path if instance is not None and instance.path.is_file() else None


def referenced_source(derived: Dataset) -> str:
    """Give the SOP Instance UID of the image that an object of ours was made of; "" where none is named."""
    return next((uid for item in _references(derived) if (uid := _referenced(item))), "")


def _references(ds: Dataset) -> Iterator[Dataset]:
    yield from peek.items(ds, "SourceImageSequence")
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in peek.items(ds, keyword):
            for derivation in peek.items(group, "DerivationImageSequence")[-1:]:  # ours is the last
                yield from peek.items(derivation, "SourceImageSequence")


def _referenced(item: Dataset) -> str:
    return peek.string(item, "ReferencedSOPInstanceUID")


def _uid_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return peek.string(read_header(file), "SOPInstanceUID")
    except (InputError, OSError):
        return ""  # not DICOM: not the source


def _sigma_of(source: Dataset) -> Sigma:
    """Measure the noise of a source's middle frame: the larger of two estimates, lest the right be blamed."""
    image = open_image(source)
    middle = image.layout.frames // 2
    frame = decode_run(image, middle, middle + 1)
    values = [np.where(np.isfinite(frame.values[0]), frame.values[0], 0).astype(np.float32)]
    keep = [frame.keep[0]]
    models = [fallback(values, keep)]
    with suppress(NoiseError):  # too little flat area: the fallback bounds it
        models.append(estimate(values, keep))

    def sigma_of(x: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(np.max([model.sigma_at(x) for model in models], axis=0), dtype=np.float64)

    return sigma_of
