"""Hidden pixels: how many, where, and what stands in for them."""

from collections import Counter

import numpy as np
import pytest
import torch

from dae_pacs.errors import TrainingError
from dae_pacs.learn.blind_spot import BlindSpot, draw_places, surroundings

PATCH = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 96, 96)).astype(np.float32))


@pytest.mark.parametrize("share", [0.002, 0.02, 0.1])
def test_about_the_share_is_hidden(share: float) -> None:
    transform = BlindSpot("image", share=share).set_random_state(seed=0)
    counts = [int(transform({"image": PATCH})["label"][1].sum()) for _ in range(40)]
    assert np.mean(counts) / 96**2 == pytest.approx(share, rel=0.1)


def test_hidden_pixels_are_spread_one_to_a_box() -> None:
    rows, columns = draw_places((96, 96), 1 / 64, np.random.default_rng(0))
    boxes = set(zip(rows // 8, columns // 8, strict=True))
    assert len(boxes) == len(rows) == 144


def test_the_label_is_the_patch_and_where_it_counts() -> None:
    made = BlindSpot("image", share=0.02).set_random_state(seed=0)({"image": PATCH})
    hidden = made["label"][1] == 1
    assert made["image"].shape == (1, 96, 96)
    assert made["label"].shape == (2, 96, 96)
    assert made["image"].dtype == made["label"].dtype == torch.float32
    assert torch.equal(made["label"][0], PATCH[0])
    assert torch.equal(made["image"][0][~hidden], PATCH[0][~hidden])
    assert (made["image"][0][hidden] != PATCH[0][hidden]).all()
    assert set(made["label"][1].unique().tolist()) == {0.0, 1.0}


def test_a_hidden_pixel_takes_the_median_of_its_surroundings_without_itself() -> None:
    made = BlindSpot("image", share=0.02, window_px=3, stand_in="median")({"image": PATCH})
    rows, columns = (made["label"][1] == 1).nonzero(as_tuple=True)
    inner = [
        (r, c)
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        if min(r, c) > 0 and max(r, c) < 95
    ]
    assert len(inner) > 100
    for row, column in inner:
        around = np.delete(PATCH[0, row - 1 : row + 2, column - 1 : column + 2].numpy().ravel(), 4)
        assert float(made["image"][0, row, column]) == np.median(around)


def test_a_hidden_pixel_takes_the_place_of_any_neighbour_alike_but_not_its_own() -> None:
    numbered = torch.arange(96 * 96, dtype=torch.float32).reshape(1, 96, 96)
    transform = BlindSpot("image", share=0.1, window_px=3).set_random_state(seed=0)
    offsets: Counter[int] = Counter()
    for _ in range(4):
        made = transform({"image": numbered})
        hidden = made["label"][1, 1:-1, 1:-1] == 1
        offsets.update((made["image"] - numbered)[0, 1:-1, 1:-1][hidden].long().tolist())
    assert set(offsets) == {-97, -96, -95, -1, 1, 95, 96, 97}
    expected = sum(offsets.values()) / 8
    assert all(abs(count - expected) < 4.5 * np.sqrt(expected) for count in offsets.values())


def test_surroundings_are_mirrored_at_the_border() -> None:
    patch = np.arange(49, dtype=np.float32).reshape(7, 7)
    found = surroundings(patch, (np.array([0]), np.array([0])), 3)
    assert found.tolist() == [[8, 7, 8, 1, 1, 8, 7, 8]]


def test_a_validation_item_hides_the_same_pixels_each_time() -> None:
    transform = BlindSpot("image").set_random_state(seed=0)
    fixed = [transform({"image": PATCH, "seed": 4})["label"] for _ in range(2)]
    drawn = [transform({"image": PATCH})["label"] for _ in range(2)]
    assert torch.equal(*fixed)
    assert not torch.equal(*drawn)


def test_the_smallest_patch_still_hides_one_pixel() -> None:
    for seed in range(10):
        made = BlindSpot("image", share=0.0005).set_random_state(seed=seed)({"image": PATCH[:, :16, :16]})
        assert made["label"][1].sum() == 1


def test_an_unknown_stand_in_is_refused_in_words() -> None:
    with pytest.raises(TrainingError, match="expected neighbour or median"):
        BlindSpot("image", stand_in="mean")  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "window_px"), [(0.0, 11), (0.5, 11), (0.002, 10), (0.002, 1)])
def test_impossible_settings_are_refused_in_words(share: float, window_px: int) -> None:
    with pytest.raises(TrainingError, match="an odd window of at least 3"):
        BlindSpot("image", share=share, window_px=window_px)
