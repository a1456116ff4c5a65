"""References: half the size, on a common scale."""

import numpy as np
import pytest
import torch

from dae_pacs.learn.reference import MakeReferenced, rough_sigma, shrink_blocks


def item(values: np.ndarray, keep: np.ndarray | None = None) -> dict[str, torch.Tensor]:
    kept = np.zeros(values.shape, dtype=bool) if keep is None else keep
    return {"image": torch.from_numpy(values)[None], "image_keep": torch.from_numpy(kept)[None]}


def test_blocks_are_averaged_and_the_rest_cut_off() -> None:
    plane = np.arange(15, dtype=np.float32).reshape(3, 5)
    np.testing.assert_array_equal(shrink_blocks(plane, 2), [[3.0, 5.0]])
    np.testing.assert_array_equal(shrink_blocks(plane, 1), plane)


def test_the_scale_is_set_by_what_is_shown() -> None:
    values = np.linspace(100, 300, 64 * 64, dtype=np.float32).reshape(64, 64)
    keep = np.zeros((64, 64), dtype=bool)
    values[:8], keep[:8] = 10_000, True
    made = MakeReferenced("image")(item(values, keep))
    shown = made["image"][~made["image_keep"]]
    assert made["image"].shape == made["image_weight"].shape == (1, 32, 32)
    assert shown.min() == pytest.approx(0, abs=0.02)
    assert shown.max() == pytest.approx(1, abs=0.02)


def test_patches_are_drawn_where_the_image_is() -> None:
    values = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    keep = np.zeros((64, 64), dtype=bool)
    keep[:33] = True
    weight = MakeReferenced("image")(item(values, keep))["image_weight"][0]
    assert not weight[:17].any()
    assert weight[17:].all()


def test_a_frame_of_padding_alone_still_gives_numbers() -> None:
    values = np.full((64, 64), 5.0, dtype=np.float32)
    made = MakeReferenced("image")(item(values, np.ones((64, 64), dtype=bool)))
    assert torch.isfinite(made["image"]).all()
    assert made["image_weight"].all()


def test_rough_sigma_sees_noise_and_not_ramps() -> None:
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 50, 128)[:, None] + np.linspace(0, 30, 128)
    assert rough_sigma((ramp + rng.normal(0, 2, ramp.shape)).astype(np.float32)) == pytest.approx(2, rel=0.05)
    assert rough_sigma(ramp.astype(np.float32)) == pytest.approx(0, abs=1e-4)
