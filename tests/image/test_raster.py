from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dae_pacs.errors import PixelError, UnsupportedImageError
from dae_pacs.image import raster

RNG = np.random.default_rng(7)
ORIENTATION = 0x0112


def grey(dtype: type, shape: tuple[int, int] = (23, 31)) -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, dtype: type, form: str) -> None:
    cells = grey(dtype)
    Image.fromarray(cells).save(tmp_path / "in", format=form, dpi=(300, 300))
    found = raster.read(tmp_path / "in")
    assert found.values.shape == (1, 23, 31)
    assert np.array_equal(found.values[0], cells)
    raster.write(found, found.values.copy(), tmp_path / "out")
    with Image.open(tmp_path / "out") as again, Image.open(tmp_path / "in") as before:
        assert (again.format, again.mode, again.size) == (form, before.mode, before.size)
        assert np.array_equal(np.asarray(again), cells)
        assert again.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_big_endian_tiff_keeps_its_values(tmp_path: Path) -> None:
    cells = grey(np.uint16)
    Image.frombytes("I;16B", (31, 23), cells.astype(">u2").tobytes()).save(tmp_path / "in", format="TIFF")
    found = raster.read(tmp_path / "in")
    assert np.array_equal(found.values[0], cells)
    raster.write(found, found.values.copy(), tmp_path / "out")
    assert np.array_equal(raster.read(tmp_path / "out").values[0], cells)


def test_a_jpeg_keeps_size_mode_orientation_and_tables(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 40 * 60).reshape(40, 60).astype(np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(smooth).save(tmp_path / "in", format="JPEG", quality=80, exif=exif, dpi=(72, 72))
    found = raster.read(tmp_path / "in")
    assert found.values.shape == (1, 40, 60)
    raster.write(found, found.values.copy(), tmp_path / "out")
    with Image.open(tmp_path / "out") as again, Image.open(tmp_path / "in") as before:
        assert (again.format, again.mode, again.size) == ("JPEG", "L", (60, 40))
        assert again.getexif()[ORIENTATION] == 6
        assert again.quantization == before.quantization
        assert np.abs(np.asarray(again, int) - np.asarray(before, int)).max() <= 2


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_grey_stored_as_colour_stays_colour(tmp_path: Path, form: str) -> None:
    cells = np.repeat(np.linspace(0, 255, 24 * 32).reshape(24, 32, 1).astype(np.uint8), 3, axis=2)
    Image.fromarray(cells).save(tmp_path / "in", format=form)
    found = raster.read(tmp_path / "in")
    raster.write(found, found.values.copy(), tmp_path / "out")
    with Image.open(tmp_path / "out") as again:
        assert again.mode == "RGB"
        if form != "JPEG":
            assert np.array_equal(np.asarray(again), cells)


def test_values_are_rounded_and_clipped(tmp_path: Path) -> None:
    Image.fromarray(grey(np.uint8)).save(tmp_path / "in", format="PNG")
    found = raster.read(tmp_path / "in")
    raster.write(found, found.values + np.float32(300), tmp_path / "out")
    again = raster.read(tmp_path / "out").values
    assert (again[~found.keep] == 255).all()


@pytest.mark.parametrize("mode", ["RGB", "P", "1", "CMYK", "RGBA", "LA", "F", "I"])
def test_what_is_not_plain_grey_is_refused(tmp_path: Path, mode: str) -> None:
    image = Image.effect_mandelbrot((32, 24), (-2, -1, 1, 1), 20).convert("L")
    colour = Image.merge("RGB", [image, image.rotate(90), image]).convert("RGBA")
    colour.putalpha(image)
    colour.convert(mode).save(tmp_path / "in", format="TIFF")
    with pytest.raises(UnsupportedImageError, match="grey"):
        raster.read(tmp_path / "in")


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(grey(np.uint8)) for _ in range(3)]
    pages[0].save(tmp_path / "in", format="TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(UnsupportedImageError, match="3 pages"):
        raster.read(tmp_path / "in")


def test_broken_pictures_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(grey(np.uint8, (300, 300))).save(tmp_path / "in", format="PNG")
    data = (tmp_path / "in").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    with pytest.raises(PixelError, match="cut"):
        raster.read(tmp_path / "cut")
    (tmp_path / "text").write_text("no picture")
    with pytest.raises(UnsupportedImageError, match="text"):
        raster.read(tmp_path / "text")
    monkeypatch.setattr(raster, "LARGEST_PIXELS", 1000)
    with pytest.raises(PixelError, match="more than 1000 pixels"):
        raster.read(tmp_path / "in")
    with pytest.raises(PixelError, match="nowhere"):
        raster.read(tmp_path / "nowhere")


def test_saturated_film_is_kept(tmp_path: Path) -> None:
    cells = grey(np.uint8)
    cells[:, :10] = 255
    Image.fromarray(cells).save(tmp_path / "in", format="PNG")
    assert raster.read(tmp_path / "in").keep[0, :, :10].all()


def test_values_of_another_shape_are_refused(tmp_path: Path) -> None:
    Image.fromarray(grey(np.uint8)).save(tmp_path / "in", format="PNG")
    found = raster.read(tmp_path / "in")
    with pytest.raises(PixelError, match="expected"):
        raster.write(found, found.values[:, 1:], tmp_path / "out")
    assert not (tmp_path / "out").exists()
