"""The transform that turns references into pairs."""

import numpy as np
import pytest
import torch

from dae_pacs.learn.simulate import SimulateNoised

REFERENCE = torch.linspace(0.1, 0.9, 64 * 64).reshape(1, 64, 64)


def noise_of(item) -> float:
    return float((item["image"] - item["label"]).std())


def test_the_noise_that_the_network_meets_spans_a_fourfold_range() -> None:
    transform = SimulateNoised("image", clean_share=0.0).set_random_state(seed=0)
    sigmas = [noise_of(transform({"image": REFERENCE})) for _ in range(80)]
    assert min(sigmas) < 0.65
    assert max(sigmas) > 1.6
    assert 0.4 < min(sigmas) <= max(sigmas) < 2.4


def test_a_share_of_the_patches_is_clean() -> None:
    transform = SimulateNoised("image", clean_share=0.5).set_random_state(seed=0)
    clean = sum(noise_of(transform({"image": REFERENCE})) == 0 for _ in range(60))
    assert 15 < clean < 45


def test_the_noise_follows_the_seed() -> None:
    first = SimulateNoised("image").set_random_state(seed=5)({"image": REFERENCE})
    again = SimulateNoised("image").set_random_state(seed=5)({"image": REFERENCE})
    other = SimulateNoised("image").set_random_state(seed=6)({"image": REFERENCE})
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])


def test_a_validation_item_has_the_same_noise_each_time() -> None:
    transform = SimulateNoised("image").set_random_state(seed=5)
    item = {"image": REFERENCE, "level": 0.05, "blur_px": 0.0, "seed": 7}
    first, again = transform(item), transform(item)
    assert torch.equal(first["image"], again["image"])
    assert noise_of(first) == pytest.approx(1, rel=0.06)


def test_a_noisy_reference_is_given_stronger_noise_than_its_own() -> None:
    transform = SimulateNoised("image", levels=(0.001, 0.1), clean_share=0.0, edge_share=0.0)
    transform.set_random_state(seed=0)
    spans = []
    for _ in range(40):
        made = transform({"image": REFERENCE, "image_sigma": 0.02})
        spans.append(float(np.ptp(made["label"].numpy())))
    # A range of 0.8 over a noise of at least 0.04, and half of that where the stabiliser was told too little.
    assert max(spans) < 0.8 / 0.04 * 2 * 1.5


def test_kernels_and_compression_are_drawn_as_often_as_asked_for() -> None:
    plain = SimulateNoised("image", clean_share=0.0).set_random_state(seed=5)({"image": REFERENCE})
    for changed in ({"kernel_share": 1.0}, {"jpeg_share": 1.0}, {"signal_share": (0.0, 0.1)}):
        transform = SimulateNoised("image", clean_share=0.0, **changed).set_random_state(seed=5)
        made = transform({"image": REFERENCE})
        assert not torch.equal(made["image"], plain["image"])
        assert 0.3 < noise_of(made) < 2.4
