import math

import pytest
import torch

from dae_pacs.denoise.network import DenoisingUNet, build, local_mean
from dae_pacs.errors import BundleError

TARGET = "dae_pacs.denoise.network.DenoisingUNet"


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build({"_target_": TARGET}).eval()


@pytest.mark.parametrize("seed", range(12))
def test_fresh_network_is_alive(seed):
    torch.manual_seed(seed)
    network = build({"_target_": TARGET})
    z = torch.randn(2, 1, 64, 64)
    out = network(z)
    assert (out - z).std() > 1e-4
    (out**2).mean().backward()
    gradients = [weight.grad.abs().max() for weight in network.parameters()]
    assert min(gradients) > 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (5, 3), (17, 40), (64, 64), (65, 71)])
def test_every_size_of_image_keeps_its_size(network, shape):
    with torch.inference_mode():
        out = network(torch.randn(1, 1, *shape))
    assert out.shape[-2:] == shape
    assert torch.isfinite(out).all()


def test_output_scales_with_its_input_below_the_knee():
    network = DenoisingUNet(channels=(8, 16), strides=(2,), features=8, knee=1e6).eval()
    z = torch.randn(1, 1, 48, 56)
    with torch.inference_mode():
        assert torch.allclose(network(7 * z), 7 * network(z), atol=1e-4)


def test_output_follows_an_offset(network):
    z = torch.randn(1, 1, 48, 56)
    with torch.inference_mode():
        assert torch.allclose(network(z + 50), network(z) + 50, atol=2e-4)


def test_constant_and_ramp_free_areas_come_back_as_they_are(network):
    with torch.inference_mode():
        assert torch.equal(network(torch.full((1, 1, 40, 40), 3.0)), torch.full((1, 1, 40, 40), 3.0))


@pytest.mark.parametrize("units", [0, 1, 2, 3])
def test_last_convolution_and_head_as_one_kernel_are_the_same_map(units):
    network = DenoisingUNet(channels=(8, 16), strides=(2,), residual_units=units, features=8).eval()
    z = torch.randn(2, 1, 24, 32)
    with torch.inference_mode():
        bands = network.bands(z)
        assert torch.allclose(network(z), z - network.head(network.unet(bands)), atol=1e-5)


def test_bands_hold_small_differences_as_they_are_and_compress_large_ones():
    network = DenoisingUNet(channels=(8, 16), strides=(2,), bands_px=(3, 9), knee=4.0)
    z = 0.01 * torch.randn(1, 1, 40, 40)
    means = [z, local_mean(z, 3), local_mean(z, 9)]
    expected = torch.cat([means[0] - means[1], means[1] - means[2]], dim=1)
    assert torch.allclose(network.bands(z), expected, atol=1e-5)
    step = torch.zeros(1, 1, 40, 40)
    step[..., 20:] = 1000
    assert float(network.bands(step).abs().max()) < 4 * math.asinh(1000 / 4)


def test_local_mean_is_the_mean_of_the_box():
    z = torch.randn(1, 1, 30, 30)
    assert torch.allclose(local_mean(z, 5)[0, 0, 10, 12], z[0, 0, 8:13, 10:15].mean(), atol=1e-6)
    flat = torch.full((1, 1, 4, 30), 2.5)
    assert torch.allclose(local_mean(flat, 33), flat, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "_target_ is None"),
        ({"_target_": "os.system"}, "os.system"),
        ({"_target_": "monai.networks.nets.UNet", "spatial_dims": 2}, "builds only"),
        ({"_target_": ["a"]}, "_target_"),
        ({"_target_": "$import os"}, "expression"),
        ({"_target_": TARGET, "channels": "$[32, 64]"}, "expression"),
        ({"_target_": TARGET, "act": "RELU"}, "unknown argument 'act'"),
        ({"_target_": TARGET, "channels": [32]}, "channels is"),
        ({"_target_": TARGET, "channels": [32, 4096, 1, 1]}, "channels is"),
        ({"_target_": TARGET, "channels": [32, True, 64, 128]}, "channels is"),
        ({"_target_": TARGET, "channels": {"_target_": "os.system"}}, "channels is"),
        ({"_target_": TARGET, "channels": [8, 16, 32], "strides": [2]}, "need 2 strides"),
        ({"_target_": TARGET, "strides": [3, 2, 2]}, "strides is"),
        ({"_target_": TARGET, "residual_units": 99}, "residual_units is"),
        ({"_target_": TARGET, "features": 0}, "features is"),
        ({"_target_": TARGET, "negative_slope": 0}, "negative_slope is"),
        ({"_target_": TARGET, "negative_slope": float("nan")}, "negative_slope is"),
        ({"_target_": TARGET, "bands_px": [3, 8]}, "bands_px is"),
        ({"_target_": TARGET, "bands_px": [9, 3]}, "bands_px is"),
        ({"_target_": TARGET, "bands_px": []}, "bands_px is"),
        ({"_target_": TARGET, "knee": 0}, "knee is"),
    ],
)
def test_what_is_not_ours_to_build_is_refused_in_words(config, words):
    with pytest.raises(BundleError, match=r"network\.json") as refusal:
        build(config)
    assert words in str(refusal.value)
