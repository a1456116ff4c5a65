"""The work of `dae-pacs evaluate`: the node's own groups, noise and denoising, and checks on the outcome."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dae_pacs import __version__
from dae_pacs.cli.evaluate import EvaluateOptions
from dae_pacs.config.load import load
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.image.series import Scan, scan
from dae_pacs.node.pipeline import CALIBRATION_FRAMES, spread
from dae_pacs.node.rasters import acquisition_groups
from dae_pacs.noise.model import NoiseModel
from dae_pacs.quality.evidence import Evidence, Shares, gather, pooled
from dae_pacs.quality.fidelity import Fidelity, nearness
from dae_pacs.quality.figures import pictures
from dae_pacs.quality.judgement import STEPS, judge_group
from dae_pacs.quality.report import Evaluation, Group, Pictures
from dae_pacs.quality.source import Plane, open_source
from dae_pacs.resources import find_bundle

MOST_PICTURES = 8
"""On the page, spread over the groups: each takes up to a megabyte."""
ROUNDING = (
    "pictures and the comparison with a reference show the result as it is stored; the other checks look at "
    "it before it is rounded to whole numbers or compressed again, which adds errors of its own"
)


@dataclass(frozen=True)
class Bar:
    """Shows how far the work is."""

    show: Callable[[str, int | None], None]
    """Takes what is being done, and of how many steps."""
    advance: Callable[[], None]


@dataclass(frozen=True)
class _Files:
    """One acquisition group as it was found."""

    name: str
    paths: tuple[Path, ...]
    is_dicom: bool


@dataclass
class _Work:
    """One evaluation at work: what stays the same, and what was found so far."""

    denoiser: Denoiser
    strength: float
    name_of: Callable[[Path], str]
    references: dict[str, tuple[Path, bool]] | None
    """By name: the path, and whether it is DICOM."""
    bar: Bar
    steps: int = 0
    frames: dict[Path, int] = field(default_factory=dict)
    """Of each file that was opened."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    fidelity: list[Fidelity] = field(default_factory=list)


def evaluate(model: str, data: Path, *, options: EvaluateOptions, bar: Bar) -> Evaluation:
    """Judge a model on the images of a file or folder.

    Raises:
        BundleError: the model is missing or broken.
        ConfigError: the configuration has mistakes.
        InputError: no image can be judged, or a reference was asked for and none fits.
    """
    settings = load(options.config)
    bundle = find_bundle(model, settings.model.folder)
    found = scan([data])
    name_of = _namer(data)
    groups = _groups(found, name_of)
    left_out = [(name_of(path), reason) for path, reason in (*found.unreadable, *found.passed_over)]
    if not groups:
        raise InputError(_nothing(data, left_out))
    references = _references(options.reference, data, groups, name_of)
    bar.show("loading the model", None)
    from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415  torch: after all else was checked

    denoiser = open_denoiser(bundle, device=options.device or settings.model.device)
    strength = options.strength if options.strength is not None else settings.model.strength
    strength = denoiser.identity.default_strength if strength is None else strength
    if strength <= 0:
        raise InputError("Strength 0 removes nothing, so that there is nothing to judge; give --strength.")
    work = _Work(denoiser, strength, name_of, references, bar, left_out=left_out)
    judged = _judge_all(work, groups, options.most)
    if not judged:
        raise InputError(_nothing(data, work.left_out))
    identity = denoiser.identity
    return Evaluation(
        model={
            "name": identity.name,
            "version": identity.version,
            "digest": identity.digest,
            "default_strength": identity.default_strength,
        },
        data=str(data),
        reference=None if options.reference is None else str(options.reference),
        strength=strength,
        device=denoiser.device,
        date=datetime.now().astimezone().isoformat(sep=" ", timespec="minutes"),
        version=__version__,
        groups=tuple(judged),
        fidelity=tuple(work.fidelity),
        left_out=tuple(work.left_out),
        unreadable=len(found.unreadable),
        found=sum(work.frames.get(path, 1) for group in groups for path in group.paths),
        settings={"Most images": str(options.most), "Rounding": ROUNDING},
    )


def _judge_all(work: _Work, groups: Sequence[_Files], most: int) -> list[Group]:
    """Judge the images that are drawn, evenly over all groups."""
    drawn = spread([(group, path) for group in groups for path in group.paths], most)
    planes_each = max(1, most // len(drawn))
    chosen = [
        (group, _planes(work, group, [path for one, path in drawn if one is group], planes_each))
        for group in groups
    ]
    chosen = [(group, planes) for group, planes in chosen if planes]
    work.steps = sum(len(planes) for _, planes in chosen) + len(chosen) * STEPS
    pictured = {id(group) for group, _ in spread(chosen, MOST_PICTURES)}
    judged = []
    for group, planes in chosen:
        work.bar.show(group.name[-40:], work.steps)
        noise = _noise_of(work, group)
        if noise is None:
            continue
        seen = _look(work, group, planes, noise=noise, most_pictures=int(id(group) in pictured))
        if seen.names:
            judged.append(_put_questions(work, group, seen, noise))
    return judged


def _planes(work: _Work, group: _Files, paths: Sequence[Path], planes_each: int) -> list[tuple[Path, int]]:
    """Draw the planes to judge of each file."""
    planes = []
    for path in paths:
        try:
            count = open_source(path, is_dicom=group.is_dicom).count
        except InputError as error:
            work.left_out.append((work.name_of(path), str(error)))
            continue
        work.frames[path] = count
        planes += [(path, index) for index in spread(range(count), planes_each)]
    return planes


@dataclass
class _Seen:
    """What was kept of a group's judged planes."""

    names: list[str] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    pictures: list[Pictures] = field(default_factory=list)
    modality: str = ""
    unit: str = ""


def _look(
    work: _Work, group: _Files, planes: Sequence[tuple[Path, int]], *, noise: NoiseModel, most_pictures: int
) -> _Seen:
    """Denoise each plane as the node does, and keep what the questions need."""
    seen, shares = _Seen(), Shares.among(len(planes))
    opened = lru_cache(maxsize=1)(lambda path: open_source(path, is_dicom=group.is_dicom))
    for path, index in planes:
        work.bar.advance()
        name = work.name_of(path) + (f", frame {index + 1}" if work.frames[path] > 1 else "")
        try:
            plane = opened(path).read(index)
            clean = _denoise(work, plane, noise)
            after = plane.settle(clean)
        except InputError as error:
            work.left_out.append((name, str(error)))
            continue
        seen.evidence.append(
            gather(plane.values, clean, plane.keep, noise=noise, strength=work.strength, shares=shares)
        )
        seen.names.append(name)
        seen.modality, seen.unit = plane.modality, plane.unit
        if len(seen.pictures) < most_pictures:
            shown = pictures(plane.values, after, plane.keep, window=plane.window)
            seen.pictures.append(Pictures(name, *shown))
        _compare(work, path, index, name=name, plane=plane, after=after)
    return seen


def _put_questions(work: _Work, group: _Files, seen: _Seen, noise: NoiseModel) -> Group:
    return Group(
        name=group.name,
        modality=seen.modality,
        unit=seen.unit,
        judged=tuple(seen.names),
        images=sum(work.frames.get(path, 1) for path in group.paths),
        noise=noise,
        judgement=judge_group(
            pooled(seen.evidence),
            _at_work(work, noise),
            noise=noise,
            strength=work.strength,
            unit=seen.unit,
            advance=work.bar.advance,
        ),
        pictures=tuple(seen.pictures),
    )


def _noise_of(work: _Work, group: _Files) -> NoiseModel | None:
    """Measure on the frames that the node would take: some files, and of each its share of frames."""
    frames, keep = [], []
    sampled = spread(group.paths, CALIBRATION_FRAMES)
    reason = "it does not decode"
    for path in sampled:
        try:
            source = open_source(path, is_dicom=group.is_dicom)
            planes = [
                source.read(index)
                for index in spread(range(source.count), max(1, CALIBRATION_FRAMES // len(group.paths)))
            ]
        except InputError as error:
            reason = str(error)
            continue
        frames += [plane.values for plane in planes]
        keep += [plane.keep for plane in planes]
    if not frames:
        work.left_out.append((group.name, reason))
        return None
    return work.denoiser.calibrate(frames, keep)


def _denoise(work: _Work, plane: Plane, noise: NoiseModel) -> NDArray[np.float32]:
    values, keep = plane.values[np.newaxis], plane.keep[np.newaxis]
    return np.asarray(work.denoiser.denoise(values, keep, noise=noise, strength=work.strength)[0])


def _at_work(work: _Work, noise: NoiseModel) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    def denoise(frames: NDArray[np.float32]) -> NDArray[np.float32]:
        keep = np.zeros(frames.shape, dtype=np.bool_)
        return work.denoiser.denoise(frames, keep, noise=noise, strength=work.strength)

    return denoise


def _compare(
    work: _Work, path: Path, index: int, *, name: str, plane: Plane, after: NDArray[np.float32]
) -> None:
    """Hold one plane against its reference, where there is one."""
    if work.references is None:
        return
    found = work.references.get(work.name_of(path))
    if found is None:
        work.left_out.append((name, "no reference of this name; judged without"))
        return
    try:
        reference = open_source(found[0], is_dicom=found[1])
        count = work.frames[path]
        clean = reference.read(index) if reference.count == count else None
        if clean is None or clean.unit != plane.unit:
            unit = "none" if clean is None else clean.unit
            words = f"it has {reference.count} frames in {unit}, the image {count} in {plane.unit}"
            work.left_out.append((name, f"not held against its reference: {words}"))
            return
        before, reached = (nearness(some, clean.values, plane.keep) for some in (plane.values, after))
    except InputError as error:
        work.left_out.append((name, f"not held against its reference: {error}"))
        return
    work.fidelity.append(Fidelity(name, plane.modality, plane.unit, before, reached))


def _groups(found: Scan, name_of: Callable[[Path], str]) -> list[_Files]:
    """Sort what was found as the node does: by series; pictures by folder; each volume by itself."""
    groups = [(series.paths, True) for series in found.series]
    groups += [(tuple(paths), False) for paths in acquisition_groups(found.rasters)]
    named: list[_Files] = []
    for paths, is_dicom in groups:
        name = name_of(paths[0]) if len(paths) == 1 else name_of(Path(os.path.commonpath(paths)))
        same = sum(group.name == name or group.name.startswith(f"{name} (") for group in named)
        named.append(_Files(f"{name} ({same + 1})" if same else name, paths, is_dicom))
    return named


def _namer(data: Path) -> Callable[[Path], str]:
    """Name files below the folder that the user named, and no further up."""
    root = data if data.is_dir() else data.parent

    def name(path: Path) -> str:
        try:
            below = path.relative_to(root).as_posix()
        except ValueError:
            return path.name
        return below if below != "." else root.resolve().name

    return name


def _references(
    reference: Path | None, data: Path, groups: Sequence[_Files], name_of: Callable[[Path], str]
) -> dict[str, tuple[Path, bool]] | None:
    """Find the references by name.

    Raises:
        InputError: there is none for any image.
    """
    if reference is None:
        return None
    found = scan([reference])
    name_reference = _namer(reference)
    paths = [(path, True) for series in found.series for path in series.paths]
    paths += [(path, False) for path in found.rasters]
    if reference.is_file() and data.is_file() and paths:
        return {name_of(data): paths[0]}
    references = {name_reference(path): (path, is_dicom) for path, is_dicom in paths}
    names = [name_of(path) for group in groups for path in group.paths]
    if not references.keys() & set(names):
        raise InputError(
            f"{reference}: no readable image there has the name of one in {data}. References have the same "
            f"names below their folder: for {names[0]}, {reference / names[0]}."
        )
    return references


def _nothing(data: Path, left_out: Sequence[tuple[str, str]]) -> str:
    words = f"{data}: no image can be judged"
    if left_out:
        name, reason = left_out[0]
        words += f"; {len(left_out)} files were left out, the first, {name}: {reason}"
    return f"{words}. Give a DICOM, JPEG, PNG, TIFF, NIfTI, MetaImage or NRRD file, or a folder of them."
