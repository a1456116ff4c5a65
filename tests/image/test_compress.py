"""Lossless coding: exact for all that it takes, refused in words for all else."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid

from dae_pacs.image.codecs import decode_frame
from dae_pacs.image.compress import SYNTAXES, choose_syntax, encode_frame, reason_not_compressed
from dae_pacs.image.layout import Layout

NAMES = ["jpeg2000", "jpegls", "rle"]


def layout_of(frame: np.ndarray, bits_stored: int) -> Layout:
    bits = 8 * frame.itemsize
    keyword = "FloatPixelData" if frame.dtype.kind == "f" else "PixelData"
    return Layout(keyword, 1, *frame.shape, bits, bits_stored, bits_stored - 1, frame.dtype.kind == "i")


def coded_and_back(frame: np.ndarray, layout: Layout, compression: str) -> np.ndarray:
    syntax = SYNTAXES[compression]
    data = encode_frame(frame, layout, syntax)
    assert len(data) % 2 == 0
    cells = decode_frame(data, syntax, shape=frame.shape, bytes_per_cell=frame.itemsize).cells
    return cells.astype(f"{cells.dtype.kind}{frame.itemsize}").view(frame.dtype)


@st.composite
def frames(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    bits = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, bits))
    is_signed = draw(st.booleans()) and stored > 1
    low, high = (-(1 << (stored - 1)), (1 << (stored - 1)) - 1) if is_signed else (0, (1 << stored) - 1)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    kind = draw(st.sampled_from(["noise", "extremes", "flat", "ramp"]))
    if kind == "noise":
        values = rng.integers(low, high, shape, endpoint=True)
    elif kind == "extremes":  # the largest coefficients that a wavelet can make of the type
        values = np.where(np.add.outer(np.arange(shape[0]), np.arange(shape[1])) % 2, low, high)
    elif kind == "flat":
        values = np.full(shape, rng.integers(low, high, endpoint=True))
    else:
        values = np.clip(np.arange(shape[0] * shape[1]).reshape(shape) + low, low, high)
    return values.astype(f"{'i' if is_signed else 'u'}{bits // 8}"), stored


@settings(max_examples=150, deadline=None)
@given(frame=frames(), compression=st.sampled_from(NAMES))
def test_every_type_that_a_coding_takes_comes_back_bit_for_bit(
    frame: tuple[np.ndarray, int], compression: str
) -> None:
    values, bits_stored = frame
    layout = layout_of(values, bits_stored)
    if reason_not_compressed(layout, compression) is None:
        assert np.array_equal(coded_and_back(values, layout, compression), values)


@pytest.mark.parametrize(
    ("compression", "bits_stored", "dtype", "words"),
    [
        ("jpeg2000", 25, np.uint32, "up to 24 bits"),
        ("jpegls", 20, np.int32, "2 to 16 bits"),
        ("jpegls", 1, np.uint8, "2 to 16 bits"),
        ("rle", 64, np.uint64, "up to 32 bits"),
        ("rle", 32, np.float32, "floating point"),
        ("jpeg2000", 64, np.float64, "floating point"),
    ],
)
def test_what_a_coding_can_not_hold_stays_uncompressed_and_the_log_says_why(
    compression: str, bits_stored: int, dtype: type, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    layout = layout_of(np.zeros((4, 4), dtype), bits_stored)
    assert choose_syntax(layout, compression) == uid.ExplicitVRLittleEndian
    (record,) = caplog.records
    assert words in record.reason


def test_every_coding_is_lossless_by_its_transfer_syntax() -> None:
    layout = layout_of(np.zeros((4, 4), np.uint16), 12)
    chosen = {choose_syntax(layout, name) for name in NAMES}
    assert chosen == {uid.JPEG2000Lossless, uid.JPEGLSLossless, uid.RLELossless}
    assert choose_syntax(replace(layout, bits_stored=16), "uncompressed") == uid.ExplicitVRLittleEndian
