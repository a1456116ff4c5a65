from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from dae_pacs.image import files, pixels


def untouched(ds: Dataset) -> np.ndarray:
    return pixels.decode(ds).stored


def written(ds: Dataset, folder: Path) -> Dataset:
    files.write(ds, folder / "derived.dcm")
    return files.read(folder / "derived.dcm")


def test_overlays_in_unused_bits_become_overlay_data(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    truth, drawn = (
        rng.integers(0, 4096, (6, 9)).astype(np.uint16),
        rng.integers(0, 2, (6, 9)).astype(np.uint16),
    )
    source = grey_image(truth | drawn << 14, BitsStored=12, HighBit=11)
    source.add_new(0x60000010, "US", 6)
    source.add_new(0x60000011, "US", 9)
    source.add_new(0x60000100, "US", 16)
    source.add_new(0x60000102, "US", 14)
    derived = written(derive_now(source, truth[np.newaxis]), tmp_path)
    assert np.array_equal(np.frombuffer(derived.PixelData, "<u2").reshape(6, 9), truth)
    assert derived[0x60000100].value == 1
    assert derived[0x60000102].value == 0
    bits = np.unpackbits(np.frombuffer(derived[0x60003000].value, np.uint8), bitorder="little")[:54]
    assert np.array_equal(bits.reshape(6, 9), drawn)


def test_stored_values_go_back_right_aligned(
    grey_image: Callable[..., Dataset], derive_now: Callable[..., Dataset], tmp_path: Path
) -> None:
    truth = np.arange(16, dtype=np.uint16).reshape(4, 4) * 100
    source = grey_image(truth << 4, BitsStored=12, HighBit=15)
    derived = written(derive_now(source, untouched(source)), tmp_path)
    assert derived.HighBit == 11
    assert np.array_equal(pixels.decode(derived).stored[0], truth)
