"""References, noise, and the folders of noisy images that `benchmarks/denoising.py` trains and tests on."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

from dae_pacs.learn.pairs import Noise
from dae_pacs.learn.reader import read_frames
from dae_pacs.learn.reference import RANGE_PERCENTILES, shrink_blocks
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import gaussian_spectrum

ROOT = Path(__file__).resolve().parents[1]
TRAINING_LIST = ROOT / "training" / "data" / "xray_radiograph_denoising.yaml"
LEVELS = (0.02, 0.05, 0.10)
SIGNAL_SHARE = 0.8
LARGEST_SIDE_PX = 1024
SCORED_PX = 512
CLIPPED = (-0.1, 2.0)
"""Of references: below is padding, above is metal; between them the stored scales have room for the noise."""
TEXTURE_WINDOW_PX = 15
TEXTURED_SHARE = 0.25
MOST_OF_SERIES = 8
TEST_GROUPS = {
    "chest-cr": ("dicom/wg04/J2KI/RG1_J2KI",),
    "hand-cr": ("dicom/pylibjpeg/JPEG2000Lossless/NM_Kakadu44_SOTmarkerincons.dcm",),
    "ct2": ("dicom/wg04/J2KR/CT2_J2KR",),
    "ct-phantom": ("dicom/ct-philips-phantom/I140",),
    "dental": tuple(f"dental-jpg/{name}.jpg" for name in ("cate1-00011", "cate4-00070", "cate8-00005")),
}
"""Images tested on, by acquisition group."""
ONLY_POOLED = {"ct-phantom": tuple(f"dicom/ct-philips-phantom/I{k}0" for k in (2, 5, 8, 11, 17, 20, 24))}
"""Of the same series: they serve to estimate its noise, and are not scored."""
DENTAL_TRAINING = ("cate2", "cate3", "cate5", "cate6", "cate7", "cate10")
"""Kinds of the dental set that no test image is of; two files of each."""

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class Condition:
    """One of the three noises of issue 3."""

    name: str
    blur_px: float
    jpeg_quality: int | None = None

    def noise(self, level: float) -> Noise:
        """Give it a level."""
        return Noise(level=level, signal_share=SIGNAL_SHARE, blur_px=self.blur_px)

    def stored(self) -> "Scale":
        """Say how its images are written: 16 bits, or JPEG's 8 with room for the noise's tails."""
        return Scale(1.0, 65535 / 4, 65535) if self.jpeg_quality is None else Scale(0.25, 255 / 1.75, 255)

    def noisy(self, clean: Plane, level: float, name: str) -> Plane:
        """Put the noise on a reference, the same on every run; not yet compressed."""
        rng = np.random.default_rng(
            [zlib.crc32(name.encode()), round(level * 1000), round(self.blur_px * 10)]
        )
        return self.noise(level).added_to(clean, rng)

    def compressed(self, noisy: Plane) -> Plane:
        """Give what is left of it behind JPEG."""
        if self.jpeg_quality is None:
            return noisy
        file = io.BytesIO()
        _save(noisy, self.stored(), file, self.jpeg_quality)
        return self.stored().read(np.asarray(Image.open(file)))

    def true_model(self, level: float) -> NoiseModel:
        """Describe the noise on the references' scale, as it was before JPEG."""
        return replace(self.noise(level).model(), spectrum=gaussian_spectrum(self.blur_px))


@dataclass(frozen=True)
class Scale:
    """Stored value = (x + offset) · gain."""

    offset: float
    gain: float
    highest: int

    def write(self, plane: Plane) -> NDArray[np.float64]:
        """Give stored values, not yet rounded."""
        return (plane.astype(np.float64) + self.offset) * self.gain

    def read(self, stored: NDArray[np.integer]) -> Plane:
        """Give the references' scale back."""
        return (stored / self.gain - self.offset).astype(np.float32)

    def model(self, model: NoiseModel) -> NoiseModel:
        """Say a model of the references' scale in stored values."""
        return replace(
            model,
            levels=tuple((level + self.offset) * self.gain for level in model.levels),
            variances=tuple(variance * self.gain**2 for variance in model.variances),
            unit="grey",
        )


CONDITIONS = {
    "uncorrelated": Condition("uncorrelated", 0.0),
    "correlated": Condition("correlated", 0.8),
    "jpeg": Condition("jpeg", 0.8, 85),
}


@dataclass(frozen=True)
class Reference:
    """A clean image on a scale of 0..1, whole, and what of it is scored."""

    group: str
    name: str
    clean: Plane
    window: tuple[slice, slice]
    counted: NDArray[np.bool_]
    """Within the window."""
    textured: NDArray[np.bool_]
    """Within the window."""
    is_scored: bool = True


@dataclass(frozen=True)
class Case:
    """One reference with one noise."""

    reference: Reference
    condition: Condition
    level: float
    whole: Plane
    """Noisy; for the estimate of the noise."""

    @property
    def noisy(self) -> Plane:
        """Give what every method gets."""
        return np.ascontiguousarray(self.whole[self.reference.window])

    @property
    def clean(self) -> Plane:
        """Give what it is compared with."""
        return self.reference.clean[self.reference.window]

    @property
    def name(self) -> str:
        """Of its file, and in what is printed."""
        return f"{self.reference.name}-{self.level:g}"

    @property
    def group(self) -> tuple[str, float]:
        """Key of what shares one estimate of the noise."""
        return (self.reference.group, self.level)

    def true_model(self) -> NoiseModel:
        """Describe its noise, as it was before JPEG."""
        return self.condition.true_model(self.level)


def test_references(data: Path) -> list[Reference]:
    """Read the held-out images, scored and only pooled."""
    scored = [(group, name, True) for group, names in TEST_GROUPS.items() for name in names]
    pooled = [(group, name, False) for group, names in ONLY_POOLED.items() for name in names]
    return [_reference(group, data / name, is_scored=is_scored) for group, name, is_scored in scored + pooled]


def test_cases(references: Sequence[Reference], condition: Condition, levels: Sequence[float]) -> list[Case]:
    """Put each level of a condition's noise on each reference."""
    return [
        Case(one, condition, level, condition.compressed(condition.noisy(one.clean, level, one.name)))
        for one in references
        for level in levels
    ]


def training_files(data: Path) -> dict[str, list[Path]]:
    """Name the files to train on by acquisition group; a long series is drawn from.

    Raises:
        ValueError: one of them is tested on.
    """
    groups: dict[str, list[Path]] = {}
    for pattern in yaml.safe_load(TRAINING_LIST.read_text())["training_images"]:
        found = sorted((data / "dicom").glob(pattern))
        chosen = {
            found[k] for k in np.linspace(0, len(found) - 1, min(len(found), MOST_OF_SERIES), dtype=int)
        }
        name = found[0].stem if len(found) == 1 else found[0].parent.name
        groups[name.replace(".", "_").lower()] = sorted(chosen)
    dental = data / "dental-jpg"
    groups["dental"] = [path for kind in DENTAL_TRAINING for path in sorted(dental.glob(f"{kind}-*"))[:2]]
    tested = {data / name for names in (*TEST_GROUPS.values(), *ONLY_POOLED.values()) for name in names}
    both = tested & {path for files in groups.values() for path in files}
    if both:
        raise ValueError(f"tested on, and in {TRAINING_LIST.name} to train on: {sorted(map(str, both))}")
    return groups


def write_training(
    groups: dict[str, list[Path]], folder: Path, conditions: Sequence[Condition], levels: Sequence[float]
) -> None:
    """Write `folder/CONDITION/{noisy,clean,true}`, a sub-folder per group and level, the same names in each.

    `true` holds each sub-folder's noise model as noise.json. A condition that is there is left alone.
    """
    wanted = [one for one in conditions if not (folder / one.name / "written").is_file()]
    if not wanted:
        return
    for group, paths in groups.items():
        for path in paths:
            clean, _ = _prepare(path)
            for condition in wanted:
                for level in levels:
                    _write_pair(folder / condition.name, condition, level, (group, path.stem, clean))
    for condition in wanted:
        (folder / condition.name / "written").touch()


def stored_planes(folder: Path, scale: Scale) -> dict[str, Plane]:
    """Read the images under a folder of `write_training` on the references' scale, by folder and name."""
    return {
        f"{path.parent.name}-{path.stem}": scale.read(np.asarray(Image.open(path)))
        for path in sorted(folder.rglob("*.*"))
        if path.is_file()
    }


def _write_pair(folder: Path, condition: Condition, level: float, image: tuple[str, str, Plane]) -> None:
    group, name, clean = image
    scale, quality = condition.stored(), condition.jpeg_quality
    for kind in ("noisy", "clean", "true"):
        (folder / kind / f"{group}-{level:g}").mkdir(parents=True, exist_ok=True)
    place = Path(f"{group}-{level:g}", name.replace(".", "_"))
    noisy = condition.noisy(clean, level, f"training {group} {name}")
    _write((folder / "noisy" / place).with_suffix(".jpg" if quality else ".png"), noisy, scale, quality)
    _write((folder / "clean" / place).with_suffix(".png"), clean, scale, None)
    model = scale.model(condition.true_model(level))
    (folder / "true" / place.parent / "noise.json").write_text(model.to_json())


def _write(path: Path, plane: Plane, scale: Scale, quality: int | None) -> None:
    with path.open("wb") as file:
        _save(plane, scale, file, quality)


def _save(plane: Plane, scale: Scale, file: BinaryIO, quality: int | None) -> None:
    stored = np.clip(np.rint(scale.write(plane)), 0, scale.highest)
    if quality is None:
        stored = stored.astype(np.uint16 if scale.highest > 255 else np.uint8)
        Image.fromarray(stored).save(file, format="PNG", compress_level=1)
    else:
        Image.fromarray(stored.astype(np.uint8)).save(file, format="JPEG", quality=quality)


def _reference(group: str, path: Path, *, is_scored: bool) -> Reference:
    clean, counted = _prepare(path)
    window = _middle(clean.shape, SCORED_PX)
    clean_scored, counted = clean[window], counted[window]
    detail = clean_scored - gaussian_filter(clean_scored, 3)
    busy = uniform_filter(detail**2, TEXTURE_WINDOW_PX)
    textured = counted & (busy > np.quantile(busy[counted], 1 - TEXTURED_SHARE))
    return Reference(group, path.stem, clean, window, counted, textured, is_scored)


def _prepare(path: Path) -> tuple[Plane, NDArray[np.bool_]]:
    """Halve an image, which takes most of its own noise away, and scale it to 0..1.

    Returns:
        (rows, columns) float32, and where it counts: not padding, not collimated.
    """
    frames = read_frames(path)
    clean = shrink_blocks(frames.values[0], 2)
    counted = shrink_blocks(frames.keep[0].astype(np.float32), 2) == 0
    low, high = np.percentile(clean[counted], RANGE_PERCENTILES)
    middle = _middle(clean.shape, LARGEST_SIDE_PX)
    scaled = np.clip((clean[middle] - low) / (high - low), *CLIPPED)
    return np.ascontiguousarray(scaled, dtype=np.float32), counted[middle]


def _middle(shape: tuple[int, ...], side_px: int) -> tuple[slice, slice]:
    top, left = (max(0, (side - side_px) // 2) for side in shape)
    return slice(top, top + side_px), slice(left, left + side_px)
