"""Make the derived object: the source's header with the changes of `rules`, and new stored values."""

from collections.abc import Collection
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from dae_pacs.errors import PixelError
from dae_pacs.image import peek
from dae_pacs.image.elements import exact_copy, raw_uid
from dae_pacs.image.groups import mark_frames
from dae_pacs.image.layout import Layout, read_layout
from dae_pacs.image.lossy import lossy_method
from dae_pacs.image.overlays import move_overlays
from dae_pacs.image.own import is_own
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.rules import HEADER_CHANGES, Making, has_functional_groups, is_inherited
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
    """
    layout = read_layout(source)
    if stored.shape != layout.shape or stored.dtype.newbyteorder("=") != layout.dtype:
        raise PixelError(
            f"The derived pixels are {stored.shape} {stored.dtype}, "
            f"{layout.shape} {layout.dtype} were expected"
        )
    target = exact_copy(source, lambda ds, tag: is_inherited(ds, tag, is_root=ds is source))
    making = Making(
        source, stored, layout, derivation, content_digest, series_number, now, lossy_method(source)
    )
    # Unchanged elements that a rule keeps must be copies too.
    kept = exact_copy(source, lambda ds, tag: ds is not source or (tag in _RULED and not _is_pixels(tag)))
    for keyword, change in HEADER_CHANGES.items():
        elem = change(making)
        if elem is not None:
            tag = Tag(keyword)
            target._dict[tag] = kept._dict[tag] if elem is source.get_item(tag, keep_deferred=True) else elem
    if has_functional_groups(source):
        mark_frames(target, source, derivation)
    move_overlays(target, source, layout)
    _put_pixels(target, source, stored, layout)
    return target


_RULED = frozenset(Tag(keyword) for keyword in HEADER_CHANGES)


def _is_pixels(tag: int) -> bool:
    return tag >> 16 == 0x7FE0


def _put_pixels(target: Dataset, source: Dataset, stored: NDArray[np.generic], layout: Layout) -> None:
    elem = peek.element(source, layout.keyword)
    vr = {"FloatPixelData": "OF", "DoubleFloatPixelData": "OD"}.get(layout.keyword, "OW")
    if layout.bits_allocated == 8 and elem is not None and str(elem.VR) == "OB":
        # Bytes may be told as bytes or as words (PS3.5 annex A.2); the source's choice stays.
        vr = "OB"
    pixels = DataElement(Tag(layout.keyword), vr, pack(stored, layout), already_converted=True)
    pixels.is_undefined_length = False
    target._dict[pixels.tag] = pixels
    meta = FileMetaDataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID"):
        element = raw_uid(f"MediaStorage{keyword}", peek.string(target, keyword))
        meta._dict[element.tag] = element
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    target.file_meta = meta


def derived_series_number(source_number: int | None, taken: Collection[int]) -> int:
    """Return the first free number from a thousand above the source's on: the same for the same arguments."""
    number = (source_number or 0) + _SERIES_NUMBER_STEP
    if not 0 < number < _LARGEST_INTEGER - len(taken):
        number = _SERIES_NUMBER_STEP
    occupied = set(taken)
    while number in occupied:
        number += 1
    return number
