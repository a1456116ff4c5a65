"""Which files are trained on, and which are held out."""

import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import at_levels, find_data, fixed
from dae_pacs.learn.reader import LoadFramed


def paths(items) -> set[str]:
    return {Path(item["image"]).name for item in items}


def test_no_image_is_on_both_sides(images: Path) -> None:
    data = find_data(images, validation_share=0.5, seed=3)
    assert len(data.training) == len(data.validation) == 2
    assert not paths(data.training) & paths(data.validation)
    assert data.problems == ()


def test_the_split_follows_the_seed(images: Path) -> None:
    first, again = find_data(images, seed=1), find_data(images, seed=1)
    assert first == again
    assert any(find_data(images, seed=seed).validation != first.validation for seed in range(2, 12))


def test_a_patient_stays_on_one_side(tmp_path: Path) -> None:
    for number in range(6):
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        ds.PatientID = f"P{number % 2}"
        ds.SOPInstanceUID = f"1.2.3.{number}"
        pixels = ds.pixel_array.copy()
        pixels[0, 0] = number
        ds.PixelData = pixels.tobytes()
        ds.save_as(tmp_path / f"{number}.dcm")
    data = find_data(tmp_path, validation_share=0.5)
    groups = [{item["group"] for item in side} for side in (data.training, data.validation)]
    assert [len(group) for group in groups] == [1, 1]
    assert groups[0] != groups[1]
    assert "P0" not in str(data), "a patient's identifier must not be carried along"


def test_one_patient_only_is_split_by_a_run_of_files(tmp_path: Path) -> None:
    for number in range(9):
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        pixels = ds.pixel_array.copy()
        pixels[0, 0] = number
        ds.PixelData = pixels.tobytes()
        ds.save_as(tmp_path / f"{number}.dcm")
    data = find_data(tmp_path, validation_share=0.3)
    assert len(data.training) == 6
    held_out = sorted(int(Path(str(item["image"])).stem) for item in data.validation)
    assert held_out == list(range(held_out[0], held_out[0] + 3))


def test_equal_pixels_count_once(images: Path) -> None:
    Image.open(images / "a.png").save(images / "a-again.tiff")
    data = find_data(images)
    assert len(data.training) + len(data.validation) == 4
    assert "the same pixels as" in data.problems[0][1]


def test_unusable_files_are_named_and_skipped(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    (images / "notes.txt").write_text("no image")
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:200])
    Image.new("L", (64, 64), 7).save(images / "flat.png")
    Image.new("L", (8, 8), 7).save(images / "small.png")
    with caplog.at_level("WARNING", logger="dae_pacs.learn"):
        data = find_data(images)
    assert {Path(path).name for path, _ in data.problems} == {
        "notes.txt",
        "broken.png",
        "flat.png",
        "small.png",
    }
    assert "4 of 8 files left out" in caplog.text
    assert "broken.png" in caplog.text


def test_colour_photographs_are_named_and_skipped(images: Path) -> None:
    photograph = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    for name in ("holiday.jpg", "holiday.png"):
        Image.fromarray(photograph).save(images / name)
    data = find_data(images)
    assert {Path(path).name for path, _ in data.problems} == {"holiday.jpg", "holiday.png"}
    assert all("colour" in reason for _, reason in data.problems)
    assert len(data.training) + len(data.validation) == 4


def test_sizes_depths_and_kinds_may_be_mixed(images: Path, make_picture) -> None:
    make_picture("small.png", rows=40, columns=50, seed=7)
    with Image.open(images / "a.png") as image:
        Image.fromarray(np.asarray(image).astype(np.uint16) * 200).save(images / "deep.png")
    shutil.copy(str(get_testdata_file("CT_small.dcm")), images / "slice")
    data = find_data(images)
    items = (*data.training, *data.validation)
    assert data.problems == ()
    assert {item["pixels"] for item in items} == {96 * 128, 40 * 50, 128 * 128}
    acquisitions = {Path(str(item["image"])).name: item["acquisition"] for item in items}
    assert acquisitions["a.png"] == acquisitions["small.png"] == acquisitions["b.jpg"]
    assert len({acquisitions[name] for name in ("a.png", "deep.png", "slice", "d.png")}) == 4


def test_white_for_low_values_is_trained_on_as_the_node_sees_it(tmp_path: Path) -> None:
    for number, meaning in enumerate(("MONOCHROME1", "MONOCHROME2")):
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        ds.PhotometricInterpretation = meaning
        ds.PatientID = meaning
        pixels = ds.pixel_array.copy()
        pixels[0, 0] = number
        ds.PixelData = pixels.tobytes()
        ds.save_as(tmp_path / f"{meaning}.dcm")
    data = find_data(tmp_path)
    assert len(data.training) == len(data.validation) == 1
    first, second = (LoadFramed("image")(dict(item))["image"] for item in (*data.training, *data.validation))
    assert float((first != second).sum()) == 1


def test_three_images_are_enough(make_picture, tmp_path: Path) -> None:
    for seed in range(3):
        make_picture(f"{seed}.png", seed=seed)
    data = find_data(tmp_path / "images")
    assert (len(data.training), len(data.validation)) == (2, 1)


def test_named_images_are_held_out(images: Path) -> None:
    data = find_data(images, validation_images=["*.jpg", "deeper/*"])
    assert paths(data.validation) == {"b.jpg", "d.png"}
    assert paths(data.training) == {"a.png", "c.tiff"}


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda _: None, "holds no files"),
        (lambda folder: (folder / "notes.txt").write_text("no image"), "none of 1 files can be trained on"),
    ],
)
def test_a_useless_folder_is_refused_in_words(tmp_path: Path, prepare, words: str) -> None:
    prepare(tmp_path)
    with pytest.raises(TrainingError, match=words):
        find_data(tmp_path)


def test_a_missing_folder_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="is not a folder"):
        find_data(tmp_path / "nowhere")


def test_a_named_image_that_is_missing_is_refused(images: Path) -> None:
    with pytest.raises(TrainingError, match=r"nowhere\.png is named in the recipe"):
        find_data(images, training_images=["nowhere.png"])


def test_one_image_alone_is_refused(make_picture, tmp_path: Path) -> None:
    make_picture("only.png")
    with pytest.raises(TrainingError, match="no image is left to check on"):
        find_data(tmp_path / "images")


def test_large_images_are_drawn_by_the_square_root_of_their_pixels(make_picture, tmp_path: Path) -> None:
    make_picture("large.png", rows=128, columns=128, seed=1)
    make_picture("small.png", rows=64, columns=64, seed=2)
    make_picture("held-out.png", seed=3)
    data = find_data(tmp_path / "images", validation_images=["held-out.png"])
    assert data.weights == [128.0, 64.0]


def test_validation_meets_each_image_at_each_level() -> None:
    items = at_levels([{"image": "a"}, {"image": "b"}], levels=[0.1, 0.2], blur_px=[0.0, 0.8])
    assert len(items) == 8
    assert len({(item["image"], item["level"], item["blur_px"]) for item in items}) == 8
    assert len({item["seed"] for item in items}) == 8


def test_fixed_items_have_a_seed_each() -> None:
    items = fixed([{"image": str(number)} for number in range(100)], most=5)
    assert [item["image"] for item in items] == ["0", "24", "49", "74", "99"]
    assert len({item["seed"] for item in items}) == 5


def test_many_images_are_thinned_out_evenly() -> None:
    items = at_levels([{"image": str(number)} for number in range(100)], levels=[0.1], most=5)
    assert [item["image"] for item in items] == ["0", "24", "49", "74", "99"]
