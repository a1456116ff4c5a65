"""What was removed, as an image of its own: the source's stored values minus those of the denoised image.

Source and denoised image differ by whole stored values, so the difference is exact: denoised plus removed
is the source, pixel for pixel. It goes into the source's own type. Where that has no sign, the middle of its
range stands for zero, and Rescale Intercept takes that back, where the class has one that may move.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from dae_pacs.errors import UnsupportedImageError
from dae_pacs.image import peek, provenance
from dae_pacs.image.elements import raw
from dae_pacs.image.layout import Layout
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.rescale import Rescale, read_rescale
from dae_pacs.image.rules import DIGITAL_X_RAY, HEADER_CHANGES, Change, Element, Making, has_functional_groups

# Half the window's width in standard deviations of the noise: what was removed reaches three at most.
_WINDOW_SIGMAS = 6.0
# A window narrower than this is told by the function that allows it (PS3.3 section C.11.2.1.3.2).
_NARROWEST_LINEAR = 2.0
# Differences of so many bits, and the middle of their range, are exact in 64.
_WIDEST = 32
_PET = "1.2.840.10008.5.1.4.1.1.128"
_MR = "1.2.840.10008.5.1.4.1.1.4"
# Rescale Intercept is 0 by definition (PS3.3 sections C.8.11.3 and C.8.9.4.1.4); an MR image has no Modality
# LUT (A.4.3), so that viewers can't be trusted with one that some makers write.
_FIXED_INTERCEPT = frozenset({*DIGITAL_X_RAY, _PET, _MR})
_FOR_PROCESSING = "FOR PROCESSING"
_TABLES = ("ModalityLUTSequence", "PixelIntensityRelationshipLUTSequence")
_PIXEL_VALUE = "PixelValueTransformationSequence"
_WINDOW = "FrameVOILUTSequence"


def difference(
    before: NDArray[np.generic], after: NDArray[np.generic], layout: Layout
) -> NDArray[np.generic]:
    """Give what was removed, in the stored type, around `zero_of(layout)`.

    Args:
        before: the source's stored values, any shape.
        after: the denoised image's, the same shape.
        layout: of the source.

    Raises:
        UnsupportedImageError: it does not fit into the bits stored.
    """
    if layout.is_float:
        with np.errstate(invalid="ignore"):
            removed = np.subtract(before, after, dtype=layout.dtype)
        return np.asarray(np.where(np.isfinite(removed), removed, 0), dtype=layout.dtype)
    if layout.bits_stored > _WIDEST:
        raise UnsupportedImageError(f"what was removed of {layout.bits_stored} bits can't be told exactly")
    removed = before.astype(np.int64) - after.astype(np.int64) + zero_of(layout)
    if int(removed.min()) < layout.lowest or int(removed.max()) > layout.highest:
        raise UnsupportedImageError(
            f"What was removed does not fit into the {layout.bits_stored} bits that the image stores"
        )
    return removed.astype(layout.dtype)


def zero_of(layout: Layout) -> int:
    """Return the stored value that means "nothing was removed"."""
    return 0 if layout.is_float or layout.is_signed else 1 << (layout.bits_stored - 1)


def refuse_tables(source: Dataset) -> None:
    """Refuse a source whose stored values go through a table: a difference has no place in it.

    Raises:
        UnsupportedImageError: the reason, for the ledger.
    """
    groups = [source, *_groups(source)]
    for keyword in _TABLES:
        if any(peek.items(group, keyword) for group in groups):
            raise UnsupportedImageError(
                f"what was removed can't be shown as an image: the source has a {keyword}, "
                "through which a difference means nothing"
            )


def as_removed(derivation: Derivation, source: Dataset, layout: Layout) -> Derivation:
    """Say in a derivation which stored value means zero, where no Rescale Intercept does."""
    zero = zero_of(layout)
    if not zero or _moves_intercept(source):
        return derivation
    return replace(derivation, note=f"; stored value {zero} is zero")


def change_groups(target: Dataset, making: Making) -> None:
    """Change the functional groups of a copy as `REMOVED_CHANGES` does the root."""
    own = peek.items(target, "PerFrameFunctionalGroupsSequence")
    shared = peek.items(target, "SharedFunctionalGroupsSequence")
    has_window = any(_WINDOW in group for group in (*shared, *own))
    for group in (*shared, *own):
        group._dict.pop(peek.tag_of("RealWorldValueMappingSequence"), None)
        for item in peek.items(group, _PIXEL_VALUE):
            slope = peek.number(item, "RescaleSlope")
            item._dict[peek.tag_of("RescaleIntercept")] = _intercept_text(
                1.0 if slope is None else slope, making
            )
        if _WINDOW in group:
            group._dict[peek.tag_of(_WINDOW)] = provenance.sequence(_WINDOW, [_window_item(making)])
    if shared and not has_window:
        shared[0]._dict[peek.tag_of(_WINDOW)] = provenance.sequence(_WINDOW, [_window_item(making)])


def _groups(ds: Dataset) -> Iterator[Dataset]:
    yield from peek.items(ds, "SharedFunctionalGroupsSequence")
    yield from peek.items(ds, "PerFrameFunctionalGroupsSequence")


def _moves_intercept(source: Dataset) -> bool:
    if peek.string(source, "SOPClassUID") in _FIXED_INTERCEPT:
        return False
    return "RescaleIntercept" in source or any(_PIXEL_VALUE in group for group in _groups(source))


def _intercept(making: Making) -> Element | None:
    """Move the intercept so that the decoded value is what was removed, in the modality's unit."""
    if "RescaleIntercept" not in making.source or not _moves_intercept(making.source):
        return peek.element(making.source, "RescaleIntercept")
    slope = peek.number(making.source, "RescaleSlope")
    return _intercept_text(1.0 if slope is None else slope, making)


def _intercept_text(slope: float, making: Making) -> Element:
    # Ten digits fit into the sixteen characters of a Decimal String, PS3.5 section 6.2.
    text = f"{0.0 - slope * zero_of(making.layout):.10g}"
    return raw(peek.tag_of("RescaleIntercept"), "DS", text.encode("ascii"))


def _centre(making: Making) -> float:
    """Return what `zero_of` decodes to: zero, unless the intercept could not move."""
    if _moves_intercept(making.source):
        return 0.0
    rescale: Rescale = read_rescale(making.source, making.layout)
    return rescale.slope[0] * zero_of(making.layout) + rescale.intercept[0]


def _window_texts(making: Making) -> dict[str, str]:
    """Say the one window of a series: the same in each image, since it comes from the noise alone."""
    width = 2 * _WINDOW_SIGMAS * making.derivation.window_sigma
    texts = {"WindowCenter": f"{_centre(making):.10g}", "WindowWidth": f"{width:.6g}"}
    if width < _NARROWEST_LINEAR:
        texts["VOILUTFunction"] = "LINEAR_EXACT"
    return texts


def _window_item(making: Making) -> Dataset:
    item = Dataset()
    for keyword, text in _window_texts(making).items():
        tag = peek.tag_of(keyword)
        item._dict[tag] = raw(tag, "CS" if keyword == "VOILUTFunction" else "DS", text.encode("ascii"))
    return item


def _window(keyword: str) -> Change:
    def change(making: Making) -> Element | None:
        # Frames have their own windows, and an image for processing has none (PS3.3 section A.26.3).
        if has_functional_groups(making.source):
            return None
        if peek.string(making.source, "PresentationIntentType") == _FOR_PROCESSING:
            return None
        text = _window_texts(making).get(keyword)
        vr = "CS" if keyword == "VOILUTFunction" else "DS"
        return None if text is None else raw(peek.tag_of(keyword), vr, text.encode("ascii"))

    return change


def _drop(_making: Making) -> None:
    return None


REMOVED_CHANGES: Mapping[str, Change] = MappingProxyType(
    {
        "RescaleIntercept": _intercept,
        "WindowCenter": _window("WindowCenter"),
        "WindowWidth": _window("WindowWidth"),
        "VOILUTFunction": _window("VOILUTFunction"),
        "WindowCenterWidthExplanation": _drop,
        "VOILUTSequence": _drop,
        "RealWorldValueMappingSequence": _drop,
        # Where there is no image, nothing was removed: a value like any other.
        "PixelPaddingValue": _drop,
        "PixelPaddingRangeLimit": _drop,
        "FloatPixelPaddingValue": _drop,
        "FloatPixelPaddingRangeLimit": _drop,
        "DoubleFloatPixelPaddingValue": _drop,
        "DoubleFloatPixelPaddingRangeLimit": _drop,
    }
)
_ALL_CHANGES: Mapping[str, Change] = MappingProxyType({**HEADER_CHANGES, **REMOVED_CHANGES})


def changes_for(derivation: Derivation) -> Mapping[str, Change]:
    """Return the table of what changes in a header."""
    return _ALL_CHANGES if derivation.kind == "removed" else HEADER_CHANGES
