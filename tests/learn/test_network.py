"""The network that recipes train is the one that the node loads."""

import pytest
import torch

from dae_pacs.errors import BundleError
from dae_pacs.learn.network import (
    ReducedPrecisionInferer,
    make_network,
    network_config,
    trained_architecture,
    trained_network,
)
from dae_pacs.resources import models_folder

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}


def test_an_unknown_argument_is_refused_before_the_training() -> None:
    with pytest.raises(BundleError, match="dropout"):
        make_network({**SMALL, "dropout": 0.5})


def test_every_weight_of_a_fresh_network_learns() -> None:
    torch.manual_seed(0)
    network = make_network(SMALL)
    network(torch.randn(1, 1, 32, 32)).square().mean().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in network.parameters())


def test_reduced_precision_stays_near_full_precision() -> None:
    torch.manual_seed(0)
    network = make_network(SMALL)
    z = 1000 + torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        reduced, full = ReducedPrecisionInferer()(z, network), network(z)
    assert reduced.dtype == torch.float32
    assert float((reduced - full).abs().max()) < 0.05


def test_a_bundles_network_can_be_trained_further() -> None:
    bundle = models_folder() / "xray_radiograph_denoising"
    network = trained_network(str(bundle))
    assert network.training
    network(torch.randn(1, 1, 32, 32)).square().mean().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in network.parameters())
    fresh = make_network(trained_architecture("xray_radiograph_denoising"))
    fresh.load_state_dict(network.state_dict())


def test_a_bundle_that_is_not_there_is_said_in_words() -> None:
    with pytest.raises(BundleError, match="there is no such bundle"):
        trained_network("no_such_bundle")


def test_the_configuration_names_the_nodes_own_network() -> None:
    assert network_config(SMALL)["_target_"] == "dae_pacs.denoise.network.DenoisingUNet"
