"""The network of a recipe: built by the same strict reader that the node uses, so that what trains also loads."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from dae_pacs.denoise.network import TARGETS, build


def make_network(architecture: Mapping[str, Any], *, device: torch.device | str = "cpu") -> nn.Module:
    """Build a fresh denoising network.

    Args:
        architecture: its arguments, as in a bundle's network.json.
        device: to put it on.

    Raises:
        BundleError: an argument is unknown or out of bounds.
    """
    return build(network_config(architecture)).to(device)


def network_config(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """Give the contents of network.json."""
    return {"_target_": TARGETS[0], **architecture}
