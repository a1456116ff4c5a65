"""Patches lie on the image, at the same place under each key."""

import pytest
import torch
from monai.transforms import Compose

from dae_pacs.learn.crops import CutPatches


def cut(
    weight: torch.Tensor, *, count: int = 8, side_px: int = 8, seed: int = 0
) -> list[dict[str, torch.Tensor]]:
    rows, columns = weight.shape
    place = torch.arange(rows * columns).reshape(1, rows, columns)
    cutter = CutPatches(["image", "label"], w_key="w", side_px=side_px, count=count)
    cutter.set_random_state(seed)
    return cutter({"image": place, "label": place + 0.5, "w": weight[None]})


def test_each_patch_is_a_piece_of_the_image_and_of_its_label() -> None:
    patches = cut(torch.ones(20, 30))
    assert len(patches) == 8
    for patch in patches:
        image = patch["image"]
        assert image.shape == (1, 8, 8)
        assert torch.equal(image[0] - image[0, 0, 0], 30 * torch.arange(8)[:, None] + torch.arange(8))
        assert torch.equal(patch["label"], image + 0.5)


def test_every_place_of_the_image_is_reached() -> None:
    first = {int(patch["image"][0, 0, 0]) for patch in cut(torch.ones(10, 9), count=200)}
    assert first == {9 * row + column for row in range(3) for column in range(2)}


def test_centres_lie_where_the_weight_is() -> None:
    weight = torch.zeros(40, 40)
    weight[:, 20:] = 1
    for patch in cut(weight, count=50):
        assert float(weight.flatten()[int(patch["image"][0, 4, 4])]) > 0


def test_a_speck_is_found() -> None:
    weight = torch.zeros(300, 300)
    weight[0, 299] = 1
    for patch in cut(weight, count=3):
        assert int(patch["image"].max()) == 300 * 7 + 299


def test_an_image_without_any_weight_is_still_cut() -> None:
    assert len(cut(torch.zeros(20, 20))) == 8


def test_an_image_of_the_patchs_size_is_taken_whole() -> None:
    assert all(int(patch["image"][0, 0, 0]) == 0 for patch in cut(torch.ones(8, 8)))


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_seed_cuts_the_same_patches(seed: int) -> None:
    image = {"image": torch.arange(900.0).reshape(1, 30, 30), "w": torch.ones(1, 30, 30)}
    compose = Compose([CutPatches("image", w_key="w", side_px=8, count=4)])
    draws = []
    for _ in range(2):
        compose.set_random_state(seed)
        draws.append(torch.stack([patch["image"] for patch in compose(image)]))
    assert torch.equal(*draws)
