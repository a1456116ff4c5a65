"""Make the derived object: the source's header with the changes of `rules`, and new stored values."""

from collections.abc import Collection
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.compress import Compression, choose_syntax
from dae_pacs.image.elements import exact_copy, exact_element
from dae_pacs.image.groups import mark_frames
from dae_pacs.image.layout import read_layout
from dae_pacs.image.lossy import lossy_method
from dae_pacs.image.overlays import move_overlays
from dae_pacs.image.own import is_own
from dae_pacs.image.part10 import file_meta
from dae_pacs.image.pixel_file import empty_pixels
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.removed import as_removed, change_groups, changes_for, refuse_tables
from dae_pacs.image.rules import Making, has_functional_groups, is_inherited, put_extremes
from dae_pacs.image.stored import pack

__all__ = ["Derivation", "derive", "derived_series_number", "is_own"]

# Far from the numbers that modalities give, near enough to show which series it belongs to.
_SERIES_NUMBER_STEP = 1000
# The largest Integer String, PS3.5 section 6.2.
_LARGEST_INTEGER = 2**31 - 1


def derive(
    source: Dataset,
    stored: NDArray[np.generic],
    *,
    derivation: Derivation,
    content_digest: str,
    series_number: int,
    now: datetime,
) -> Dataset:
    """Make a derived object in explicit VR little endian that shares nothing with its source.

    Args:
        source: the whole object, as `files.read` gives it; its elements are not touched.
        stored: the shape and dtype of `pixels.decode(source).stored`.
        derivation: what was done.
        content_digest: of the source's data set; a part of the new SOP Instance UID.
        series_number: of the derived series.
        now: the moment of creation; with a time zone it is told in the object's own.

    Raises:
        PixelError: `stored` is not of the source's shape and type.
        UnsupportedImageError: what was removed is to be shown, and the source's class can't carry that.
    """
    layout = read_layout(source)
    if stored.shape != layout.shape or stored.dtype.newbyteorder("=") != layout.dtype:
        raise PixelError(
            f"The derived pixels are {stored.shape} {stored.dtype}, "
            f"{layout.shape} {layout.dtype} were expected"
        )
    target = derive_header(
        source,
        derivation=derivation,
        content_digest=content_digest,
        series_number=series_number,
        now=now,
    )
    if not layout.is_float:
        put_extremes(target, layout, int(stored.min()), int(stored.max()))
    data = pack(stored, layout)
    target[layout.keyword].value = data + b"\0" * (len(data) % 2)
    return target


def derive_header(
    source: Dataset,
    *,
    derivation: Derivation,
    content_digest: str,
    series_number: int,
    now: datetime,
    compression: Compression = "uncompressed",
) -> Dataset:
    """Make everything of a derived object but its pixel data: their element is empty, `pixel_file` fills it.

    The extremes of the stored values are left at zero, see `put_extremes`. The rest is as in `derive`.

    Args:
        source: with its pixel data or a `Span` of them.
        derivation: what was done.
        content_digest: of the source's data set.
        series_number: of the derived series.
        now: the moment of creation.
        compression: of the pixels, where it can hold them exactly; they stay uncompressed otherwise.

    Raises:
        PixelError: the header contradicts itself.
        UnsupportedImageError: what was removed is to be shown, and the source's class can't carry that.
    """
    layout = read_layout(source)
    if is_difference := derivation.kind == "removed":
        refuse_tables(source)
        derivation = as_removed(derivation, source, layout)
    changes = changes_for(derivation)
    ruled = frozenset(map(peek.tag_of, changes))
    target = exact_copy(
        source,
        lambda ds, tag: (
            # What private factors say of stored values is not true of a difference.
            is_inherited(ds, tag, is_root=ds is source, changed=ruled)
            and not (is_difference and tag.is_private)
        ),
    )
    making = Making(source, layout, derivation, content_digest, series_number, now, lossy_method(source))
    for keyword, change in changes.items():
        elem = change(making)
        if elem is not None:
            tag = peek.tag_of(keyword)
            # An unchanged element that a rule keeps must be a copy too.
            target._dict[tag] = exact_element(source, tag) if elem is source._dict.get(tag) else elem
    if has_functional_groups(source):
        mark_frames(target, source, derivation)
    if is_difference:
        change_groups(target, making)
    move_overlays(target, source, layout)
    target.file_meta = file_meta(target, choose_syntax(layout, compression))
    pixels = empty_pixels(source, layout)
    target._dict[pixels.tag] = pixels
    return target


def derived_series_number(source_number: int | None, taken: Collection[int]) -> int:
    """Return the first free number from a thousand above the source's on: the same for the same arguments."""
    number = (source_number or 0) + _SERIES_NUMBER_STEP
    if not 0 < number < _LARGEST_INTEGER - len(taken):
        number = _SERIES_NUMBER_STEP
    occupied = set(taken)
    while number in occupied:
        number += 1
    return number
