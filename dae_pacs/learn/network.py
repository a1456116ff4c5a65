"""The network of a recipe, built by the strict reader that the node uses, so that what trains also loads."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor, nn

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.network import TARGETS, build
from dae_pacs.resources import find_bundle


def make_network(architecture: Mapping[str, Any], *, device: torch.device | str = "cpu") -> nn.Module:
    """Build a fresh denoising network.

    Args:
        architecture: its arguments, as in a bundle's network.json.
        device: to put it on.

    Raises:
        BundleError: an argument is unknown or out of bounds.
    """
    return _laid_out(build(network_config(architecture))).to(device)


def trained_network(bundle: str, *, device: torch.device | str = "cpu") -> nn.Module:
    """Take the network of a bundle, to train it further.

    Args:
        bundle: its name, or the path of its folder.
        device: to put it on.

    Raises:
        BundleError: there is no such bundle, or it is broken.
    """
    network = load_bundle(_folder(bundle)).network()
    return _laid_out(network).to(device).train().requires_grad_(requires_grad=True)


def trained_architecture(bundle: str) -> dict[str, Any]:
    """Give the arguments of a bundle's network, as `make_network` takes them.

    Args:
        bundle: its name, or the path of its folder.

    Raises:
        BundleError: there is no such bundle, or it is broken.
    """
    config = load_bundle(_folder(bundle)).network_config
    return {name: value for name, value in config.items() if name != "_target_"}


def _folder(bundle: str) -> Path:
    return Path(bundle) if Path(bundle).is_dir() else find_bundle(bundle)


def _laid_out(network: nn.Module) -> nn.Module:
    for weight in network.parameters():  # the layout in which convolutions on a CPU are fastest
        if weight.ndim == 4:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
    return network


def network_config(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Give the contents of network.json."""
    return {"_target_": TARGETS[0], **architecture}


class ReducedPrecisionInferer(Inferer):
    """Run the network's convolutions in bfloat16 while training; weights and losses stay float32.

    Half the time of float32 on CPUs with AVX-512 BF16 and on GPUs since 2020; slower on others. The level of
    the image never passes through bfloat16, since the network takes it away first (`DenoisingUNet.forward`).
    """

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *_: Any, **__: Any) -> Tensor:
        """Give the network's output in float32."""
        with torch.autocast(inputs.device.type, dtype=torch.bfloat16):
            return network(inputs).float()
