"""Pairs by name, and what the network should make of the noisy one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import find_data
from dae_pacs.learn.reader import LoadFramed
from dae_pacs.learn.supervised import ReferenceAsLabel
from dae_pacs.noise.model import affine

FEW_QUANTA = affine(gain=1.0, offset=0.05, low=0.0, high=40.0)


def names(items) -> set[tuple[str, str]]:
    return {(Path(item["image"]).name, Path(item["reference"]).name) for item in items}


def test_each_image_finds_its_reference_by_its_name(images: Path, make_picture) -> None:
    for seed, name in enumerate(("a.png", "b.png", "c.tiff", "deeper/d.png")):
        make_picture(f"../clean/{name}", seed=100 + seed)
    data = find_data(images, reference_dir=images.parent / "clean")
    assert names((*data.training, *data.validation)) == {
        ("a.png", "a.png"),
        ("b.jpg", "b.png"),
        ("c.tiff", "c.tiff"),
        ("d.png", "d.png"),
    }


def test_references_below_the_images_are_not_trained_on(images: Path, make_picture) -> None:
    for seed, name in enumerate(("a.png", "b.jpg", "c.tiff", "deeper/d.png")):
        make_picture(f"clean/{name}", seed=100 + seed)
    data = find_data(images, reference_dir=images / "clean")
    assert len(data.training) + len(data.validation) == 4
    assert data.problems == ()


def test_what_has_no_fitting_reference_is_named_and_skipped(images: Path, make_picture) -> None:
    make_picture("../clean/a.png", seed=101)
    make_picture("../clean/b.jpg", seed=102)
    make_picture("../clean/c.tiff", rows=64, seed=103)
    data = find_data(images, reference_dir=images.parent / "clean")
    assert len(data.training) == len(data.validation) == 1
    reasons = {Path(path).name: reason for path, reason in data.problems}
    assert "expected (1, 96, 128) finite values" in reasons["c.tiff"]
    assert "0 files" in reasons["d.png"]


def test_a_missing_folder_of_references_is_refused_in_words(images: Path) -> None:
    with pytest.raises(TrainingError, match="Give --reference_dir a folder of clean images"):
        find_data(images, reference_dir=images / "nowhere")


def test_the_label_is_what_stabilised_noise_averages_to() -> None:
    clean = np.linspace(3, 30, 40, dtype=np.float32)[None, :, None]
    made = ReferenceAsLabel("reference")(
        {"reference": torch.from_numpy(clean), "reference_keep": clean < 0, "noise": FEW_QUANTA.to_json()}
    )
    assert made.keys() == {"label", "noise"}
    assert made["label"].dtype == torch.float32
    rng = np.random.default_rng(0)
    noisy = clean + rng.normal(size=(4000, 40, 1)).astype(np.float32) * FEW_QUANTA.sigma_at(clean)
    average = FEW_QUANTA.stabilise(noisy.astype(np.float32)).mean(axis=0)
    np.testing.assert_allclose(made["label"][0].numpy(), average, atol=4 / np.sqrt(4000))


def test_the_inverse_brings_the_label_back_to_the_reference() -> None:
    clean = np.linspace(5, 30, 32 * 32, dtype=np.float32).reshape(1, 32, 32)
    made = ReferenceAsLabel("reference")(
        {"reference": torch.from_numpy(clean), "noise": FEW_QUANTA.to_json()}
    )
    np.testing.assert_allclose(FEW_QUANTA.invert(made["label"].numpy()), clean, atol=0.02)


def test_both_images_are_loaded_by_one_transform(images: Path, make_picture) -> None:
    clean = make_picture("../clean/a.png", seed=101)
    loaded = LoadFramed(keys=["image", "reference"])(
        {"image": images / "a.png", "reference": clean, "frame": 0}
    )
    np.testing.assert_array_equal(loaded["reference"][0].numpy(), np.asarray(Image.open(clean)))
