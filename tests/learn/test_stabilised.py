"""Into the domain of the network, and what patches are drawn by."""

import numpy as np
import pytest
import torch

from dae_pacs.errors import NoiseError
from dae_pacs.learn.stabilised import Stabilised
from dae_pacs.noise.model import affine

MODEL = affine(gain=2.0, offset=9.0, low=0.0, high=1000.0)


def item(keep: np.ndarray | None = None) -> dict[str, object]:
    ramp = np.linspace(50, 900, 96 * 96, dtype=np.float32).reshape(96, 96)
    noisy = ramp + MODEL.sample(ramp, np.random.default_rng(0))
    kept = np.zeros(ramp.shape, dtype=bool) if keep is None else keep
    return {
        "image": torch.from_numpy(noisy)[None],
        "clean": torch.from_numpy(ramp)[None],
        "image_keep": torch.from_numpy(kept)[None],
        "clean_keep": torch.from_numpy(kept)[None],
        "noise": MODEL.to_json(),
    }


def test_noise_has_a_standard_deviation_of_one_at_every_level() -> None:
    made = Stabilised(keys=["image", "clean"])(item())
    noise = made["image"] - made["clean"]
    assert made["image"].shape == (1, 96, 96)
    assert made["image"].dtype == torch.float32
    for rows in (slice(0, 32), slice(32, 64), slice(64, 96)):
        assert float(noise[:, rows].std()) == pytest.approx(1, abs=0.04)  # 3072 samples: 0.013 each


def test_it_is_the_transform_that_the_node_inverts() -> None:
    given = item()
    made = Stabilised(keys="image")(given)
    np.testing.assert_array_equal(made["image"].numpy(), MODEL.stabilise(given["image"].numpy()))


def test_padding_has_no_weight() -> None:
    keep = np.zeros((96, 96), dtype=bool)
    keep[:10] = True
    weight = Stabilised(keys="image")(item(keep))["image_weight"]
    assert weight.shape == (1, 96, 96)
    assert weight.dtype == torch.float32
    assert not weight[:, :10].any()
    assert (weight[:, 10:] == 1).all()


def test_a_frame_of_padding_alone_can_still_be_drawn_from() -> None:
    assert Stabilised(keys="image")(item(np.ones((96, 96), dtype=bool)))["image_weight"].all()


def test_a_broken_noise_model_is_refused_in_words() -> None:
    with pytest.raises(NoiseError, match="not what dae-pacs wrote"):
        Stabilised(keys="image")({**item(), "noise": "{}"})
