"""What the demo ends with: noise before and after, and a picture of what was removed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from rich.box import SIMPLE_HEAD
from rich.table import Table

from dae_pacs.demo.watch import Twin
from dae_pacs.errors import PeerError
from dae_pacs.image import files
from dae_pacs.image.picture import side_by_side, window_of
from dae_pacs.image.pixels import Decoded, decode
from dae_pacs.noise.estimate import flat_sigma

PICTURE_SIZE = 640
"""Rows and columns of the part that a picture shows: pixel for pixel, noise is seen only so."""


@dataclass(frozen=True)
class Comparison:
    """One image beside its denoised twin."""

    name: str
    rows: int
    columns: int
    received_s: float
    """From the first byte sent until the PACS had it; so with `delivered_s`."""
    denoising_s: float
    """How long the worker was at its series."""
    delivered_s: float
    sigma_before: float
    sigma_after: float
    unit: str
    picture: Path


def compare(name: str, twin: Twin, folder: Path) -> Comparison:
    """Measure both objects as they stand in the PACS, and draw them.

    Raises:
        InputError: one of them can't be read.
        PeerError: one of them is not there.
    """
    if twin.original is None or twin.denoised is None:
        raise PeerError(f"The PACS does not hold the image {name} and its denoised twin")
    ds = files.read(twin.original)
    before, after = decode(ds), decode(files.read(twin.denoised))
    picture = folder / f"{name}.png"
    _draw(ds, before.values[0], after.values[0], picture)
    return Comparison(
        name=name,
        rows=before.values.shape[1],
        columns=before.values.shape[2],
        received_s=twin.received_s,
        denoising_s=twin.denoising_s,
        delivered_s=twin.delivered_s,
        sigma_before=_sigma(before),
        sigma_after=_sigma(after),
        unit=before.unit,
        picture=picture,
    )


def _draw(ds: Dataset, before: NDArray[np.float32], after: NDArray[np.float32], picture: Path) -> None:
    """Draw the middle of both frames, pixel for pixel, the way round in which they are read."""
    part = _middle(before)
    # A radiograph's own window spans all of it; this part of it has a narrower range.
    window = window_of(ds) if ds.Modality == "CT" else None
    sign = np.float32(-1 if ds.PhotometricInterpretation == "MONOCHROME1" else 1)
    side_by_side(
        sign * before[part],
        sign * after[part],
        picture,
        window=window,
        caption=f"{picture.stem}: its middle, pixel for pixel",
    )


def as_table(comparisons: list[Comparison], title: str) -> Table:
    """Lay the comparisons out for the terminal."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("image", no_wrap=True)
    for heading in ("pixels", "received", "denoised", "delivered", "noise before > after"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in comparisons:
        table.add_row(
            one.name,
            f"{one.rows}x{one.columns}",
            f"{one.received_s:.1f} s",
            f"{one.denoising_s:.1f} s",
            f"{one.delivered_s:.1f} s",
            f"{one.sigma_before:.2f} > {one.sigma_after:.2f} {one.unit}",
        )
    return table


def _sigma(decoded: Decoded) -> float:
    return flat_sigma(decoded.values[0], decoded.keep[0])


def _middle(frame: NDArray[np.float32]) -> tuple[slice, slice]:
    """Give the part of the picture's size in the middle of a frame."""
    starts = [max(0, (length - PICTURE_SIZE) // 2) for length in frame.shape]
    rows, columns = (slice(start, start + PICTURE_SIZE) for start in starts)
    return rows, columns
