"""Find the images of a folder, say which can't be used, and split them so that no image is on both sides."""

import hashlib
import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import numpy as np

from dae_pacs.errors import InputError, TrainingError
from dae_pacs.image import peek
from dae_pacs.image.header import read_header
from dae_pacs.learn.reader import Frames, is_raster, read_frames
from dae_pacs.learn.supervised import References

logger = logging.getLogger(__name__)

FRAMES_PER_FILE = 16
"""A cine run's frames resemble each other: more of one file would only crowd out the others."""
SMALLEST_SIDE_PX = 32
"""Below this nothing is left to learn from once the reference has been halved."""

Item = dict[str, str | int | float]
"""One frame: `image` (path), `frame` (number in the file), `frames` (of the file), `group` (patient or file),
`acquisition` (what shares a noise), `rows`, `pixels`; and `reference` (path) where there are clean images."""


@dataclass(frozen=True)
class Data:
    """What a recipe trains on, what it checks itself on, and what it could not use."""

    training: tuple[Item, ...]
    validation: tuple[Item, ...]
    problems: tuple[tuple[str, str], ...]
    """(file, reason) of each file that was left out."""

    @property
    def weights(self) -> list[float]:
        """How often to draw each training frame: the square root of its pixels.

        Half way between each frame counting the same and each pixel counting the same, so that one large
        mammogram does not vanish among hundreds of small slices, nor they beside it.
        """
        return [sqrt(float(item["pixels"])) for item in self.training]


def find_data(  # noqa: PLR0913  # a recipe's settings are its parameters
    folder: str | Path,
    *,
    reference_dir: str | Path | None = None,
    training_images: Sequence[str] | None = None,
    validation_images: Sequence[str] | None = None,
    validation_share: float = 0.2,
    most_files: int = 2000,
    seed: int = 0,
) -> Data:
    """Sort the images of a folder into training and validation.

    Args:
        folder: searched with all its sub-folders.
        reference_dir: holds a clean image for each, of the same name and place under it (the suffix may
            differ); what is in there is not trained on by itself.
        training_images: use these files only (names relative to the folder; a star stands for anything).
        validation_images: hold these out; None draws `validation_share` of the patients, or of the files
            where the header names no patient.
        validation_share: of the groups, at least one.
        most_files: of a larger folder, draw this many.
        seed: of the draws.

    Raises:
        TrainingError: no folder, nothing usable in it, or too little to hold an image out.
    """
    root = Path(folder)
    if not root.is_dir():
        raise TrainingError(f"{root} is not a folder. Give --data_dir a folder with JPG, PNG, TIFF or DICOM.")
    references = None if reference_dir is None else References.under(Path(reference_dir), images=root)
    held_out = _named(root, validation_images or ())
    chosen = _named(root, training_images) if training_images else _all_files(root)
    chosen = [path for path in chosen if path not in set(held_out)]
    if references is not None:
        chosen = [path for path in chosen if not references.holds(path)]
    if len(chosen) > most_files:
        logger.warning("folder drawn from", extra={"found": len(chosen), "used": most_files})
        chosen = sorted(random.Random(seed).sample(chosen, most_files))  # noqa: S311 - a draw, no secret
    training, problems = _items(chosen, references)
    validation, more_problems = _items(held_out, references)
    problems += more_problems
    _report(problems, total=len(chosen) + len(held_out))
    if not training:
        raise TrainingError(_nothing_usable(root, problems))
    if not held_out:
        training, validation = _split(training, share=validation_share, seed=seed)
    if not validation:
        raise TrainingError(f"{root}: no image is left to check on. Add images, or name some to hold out.")
    return Data(tuple(training), tuple(validation), tuple(problems))


def with_validation(data: Data, *, share: float = 0.2, seed: int = 0) -> Data:
    """Split again if images were left out afterwards and either side has none left.

    Raises:
        TrainingError: too little is left to hold an image out.
    """
    if data.training and data.validation:
        return data
    training, validation = _split([*data.training, *data.validation], share=share, seed=seed)
    if not validation:
        raise TrainingError(
            f"{len(data.problems)} files were left out, each with its reason; no image is left to check on. "
            "Add images."
        )
    return Data(tuple(training), tuple(validation), data.problems)


def fixed(items: Sequence[Item], *, most: int = 24) -> list[Item]:
    """Give validation frames a `seed`, so that transforms that draw do the same to them each time.

    Args:
        items: frames; of more than fit, some evenly spread over the list.
        most: items in the result.
    """
    return [{**item, "seed": place} for place, item in enumerate(spread(items, most))]


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """Pick at most so many items at even steps, the first and the last among them."""
    return [items[place] for place in np.linspace(0, len(items) - 1, min(len(items), most), dtype=int)]


def at_levels(
    items: Sequence[Item], *, levels: Sequence[float], blur_px: Sequence[float] = (0.0,), most: int = 24
) -> list[Item]:
    """Repeat validation frames at fixed noise levels, so that each validation sees the same noise.

    Args:
        items: frames; of more than fit, some evenly spread over the list.
        levels: noise at mid-grey, as a share of the image's range.
        blur_px: of the correlated noise; 0 for uncorrelated.
        most: items in the result.
    """
    kinds = [(float(level), float(blur)) for level in levels for blur in blur_px]
    chosen = spread(items, max(1, most // len(kinds)))
    return [
        {**item, "level": level, "blur_px": blur, "seed": 1000 * place + kind}
        for place, item in enumerate(chosen)
        for kind, (level, blur) in enumerate(kinds)
    ]


def _all_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and not path.name.startswith("."))


def _named(root: Path, names: Iterable[str]) -> list[Path]:
    paths: list[Path] = []
    for name in names:
        found = sorted(path for path in root.glob(name) if path.is_file())
        if not found:
            raise TrainingError(f"{root / name} is named in the recipe, but no such file is there.")
        paths += found
    return list(dict.fromkeys(paths))


def _items(paths: Iterable[Path], references: References | None) -> tuple[list[Item], list[tuple[str, str]]]:
    """List the frames of every usable file, and why the other files are not; equal pixels count once."""
    items: list[Item] = []
    problems: list[tuple[str, str]] = []
    seen: dict[str, Path] = {}
    for path in paths:
        try:
            read = read_frames(path)
            reference = references.of(path, read) if references else None
            group, acquisition = _origin(path, read)
        except InputError as error:
            problems.append((str(path), str(error)))
            continue
        frames = read.values
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        reason = _reason_not_usable(frames)
        if reason is None and digest in seen:
            reason = f"the same pixels as {seen[digest]}"
        if reason is not None:
            problems.append((str(path), reason))
            continue
        seen[digest] = path
        chosen = np.linspace(0, len(frames) - 1, min(len(frames), FRAMES_PER_FILE), dtype=int)
        common: Item = {"image": str(path), "group": group, "acquisition": acquisition}
        common |= {"frames": len(frames), "rows": frames.shape[1], "pixels": frames[0].size}
        common |= {"reference": str(reference)} if reference else {}
        items += [{**common, "frame": int(frame)} for frame in chosen]
    return items, problems


def _reason_not_usable(frames: np.ndarray) -> str | None:
    if min(frames.shape[1:]) < SMALLEST_SIDE_PX:
        return f"{frames.shape[1]}×{frames.shape[2]} pixels; at least {SMALLEST_SIDE_PX} a side are needed"
    if not np.isfinite(frames).all():
        return "some of its pixels are not finite"
    if float(np.ptp(frames)) == 0.0:
        return "all of its pixels have one value"
    return None


def _origin(path: Path, frames: Frames) -> tuple[str, str]:
    """Name what must stay on one side, and what shares a noise; no patient's identifier is carried along.

    The first is the patient where the header names one, else the file. The second is the series, or the
    pictures of one folder and depth, as the node takes them.
    """
    if is_raster(path):
        return str(path), f"{path.parent} ({frames.dtype})"
    with path.open("rb") as file:
        header = read_header(file)
    patient = peek.string(header, "PatientID") or peek.string(header, "StudyInstanceUID") or str(path)
    series = peek.string(header, "SeriesInstanceUID") or str(path)
    return _hidden(patient), _hidden(series)


def _hidden(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _split(items: list[Item], *, share: float, seed: int) -> tuple[list[Item], list[Item]]:
    key = "group" if len({item["group"] for item in items}) > 1 else "image"
    if key == "image":
        logger.warning("every image has the same patient: split by file instead")
    groups = sorted({str(item[key]) for item in items})
    if len(groups) < 2:
        return items, []
    count = min(max(1, round(share * len(groups))), len(groups) - 1)
    draw = random.Random(seed)  # noqa: S311 - no secret
    if key == "image":  # slices beside each other are alike, so a run of them is held out
        start = draw.randint(0, len(groups) - count)
        held_out = set(groups[start : start + count])
    else:
        held_out = set(draw.sample(groups, count))
    return (
        [item for item in items if item[key] not in held_out],
        [item for item in items if item[key] in held_out],
    )


def _report(problems: Sequence[tuple[str, str]], *, total: int) -> None:
    for path, reason in problems:
        logger.warning("image left out: %s: %s", path, reason)
    if problems:
        logger.warning("%d of %d files left out", len(problems), total)


def _nothing_usable(root: Path, problems: Sequence[tuple[str, str]]) -> str:
    if not problems:
        return f"{root} holds no files. Put JPG, PNG, TIFF or DICOM images there."
    path, reason = problems[0]
    return f"{root}: none of {len(problems)} files can be trained on; the first, {path}: {reason}"
