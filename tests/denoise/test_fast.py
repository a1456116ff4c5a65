import json

import pytest
import torch

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.choice import LAYER_BY_LAYER, PROMISED_SIGMA, built_in_image, choose
from dae_pacs.denoise.fast import FastUNet, shared_bands
from dae_pacs.denoise.network import build
from dae_pacs.resources import models_folder

CPU = torch.device("cpu")
SHIPPED = ("xray_radiograph_denoising", "ct_volume_denoising")


def network(seed: int = 3, **changes):
    torch.manual_seed(seed)
    config = {"_target_": "DenoisingUNet", "channels": [8, 16, 32], "strides": [2, 2], **changes}
    return build(config).eval().requires_grad_(requires_grad=False)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"residual_units": 1},
        {"residual_units": 3},
        {"strides": [2, 1]},
        {"strides": [1, 2]},
        {"channels": [8, 16], "strides": [2]},
        {"channels": [8, 8, 8], "features": 5, "negative_slope": 0.3, "knee": 1.5},
        {"bands_px": [3]},
        {"bands_px": [5, 7, 21, 63]},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("shape", [(1, 1, 64, 64), (2, 1, 37, 51), (1, 1, 9, 70)])
def test_fused_layers_give_what_layer_by_layer_gives(changes, shape):
    plain = network(**changes)
    z = torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 3 + 100
    with torch.inference_mode():
        expected, found = plain(z), FastUNet(plain)(z)
    assert (expected - z).abs().max() > 0.01
    assert found.shape == z.shape
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize("bands_px", [(3,), (3, 9, 33), (5, 11, 15, 129)])
@pytest.mark.parametrize("side", [8, 200])
def test_shared_sums_give_the_bands(bands_px, side):
    plain = network(bands_px=list(bands_px))
    z = torch.randn((2, 1, side, side + 3), generator=torch.Generator().manual_seed(1)) * 30 + 500
    found = shared_bands(z, bands_px=bands_px, knee=plain.knee)
    assert (found - plain.bands(z)).abs().max() < 5e-3
    assert found.shape == (2, len(bands_px), side, side + 3)


def test_image_is_left_as_it_was():
    z = built_in_image()
    before = z.clone()
    with torch.inference_mode():
        FastUNet(network())(z)
    assert torch.equal(z, before)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_run_in_a_fast_way_that_keeps_the_promise(name):
    way = choose(load_bundle(models_folder() / name).network(), CPU)
    assert way.name != LAYER_BY_LAYER
    assert 0 < way.difference_sigma <= PROMISED_SIGMA


def test_choice_is_the_same_each_time():
    names = {choose(network(), CPU).name for _ in range(3)}
    assert len(names) == 1


def test_way_that_disagrees_is_not_taken(caplog):
    plain = network()
    plain.head.weight.mul_(1e7)  # float32 itself rounds by more than the promise
    way = choose(plain, CPU)
    assert way.name == LAYER_BY_LAYER
    assert "disagrees with float32" in caplog.text


def test_network_without_residual_units_runs_layer_by_layer():
    assert choose(network(residual_units=0), CPU).name == LAYER_BY_LAYER


def test_way_that_fails_is_passed_over(monkeypatch, caplog):
    def fail(*_args):
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(FastUNet, "forward", fail)
    assert choose(network(), CPU).name == LAYER_BY_LAYER
    assert "a way to run the network failed" in caplog.text
