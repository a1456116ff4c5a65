from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset

from dae_pacs.errors import PixelError
from dae_pacs.image.picture import WIDEST_PANEL, side_by_side, window_of


def test_three_panels_stand_at_native_size(tmp_path: Path) -> None:
    before = np.random.default_rng(0).normal(100, 10, (80, 60)).astype(np.float32)
    side_by_side(
        before, before * np.float32(0.9), tmp_path / "x.png", window=(100, 60), caption="strength 0.7"
    )
    with Image.open(tmp_path / "x.png") as image:
        assert image.format == "PNG"
        assert image.width >= 3 * 60
        assert image.height > 80
        assert len(np.unique(np.asarray(image))) > 20


def test_a_large_image_is_shown_smaller(tmp_path: Path) -> None:
    large = np.zeros((1, 500, 2 * WIDEST_PANEL), np.float32)
    side_by_side(large, large, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.width <= 3 * WIDEST_PANEL + 20


def test_two_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PixelError, match="one size"):
        side_by_side(np.zeros((4, 4), np.float32), np.zeros((4, 5), np.float32), tmp_path / "x.png")


def test_the_first_window_is_found(grey_image: Callable[..., Dataset]) -> None:
    cells = np.zeros((4, 4), np.uint16)
    assert window_of(grey_image(cells, WindowCenter=["40", "300"], WindowWidth=["80", "1500"])) == (40, 80)
    assert window_of(grey_image(cells)) is None
    assert window_of(grey_image(cells, WindowCenter=40, WindowWidth=0)) is None
    group, lut = Dataset(), Dataset()
    lut.WindowCenter, lut.WindowWidth = 50, 350
    group.FrameVOILUTSequence = [lut]
    assert window_of(grey_image(cells, SharedFunctionalGroupsSequence=[group])) == (50, 350)
