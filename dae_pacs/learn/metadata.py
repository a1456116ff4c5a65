"""What a bundle says of itself: configs/metadata.json, as MONAI's schema of 2024-07-25 asks."""

from typing import Any

import ignite
import monai
import numpy as np
import torch

from dae_pacs.learn.facts import Facts

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
DEFAULT_STRENGTH = 0.7
"""A flat region keeps 0.3 of its noise, and an erased lesion 0.3 of its contrast (DESIGN.md, "Denoising")."""
CLAMP_SIGMA = 3.0
"""No pixel changes by more than this many standard deviations of its noise (DESIGN.md, "Denoising")."""


def metadata(facts: Facts) -> dict[str, Any]:
    """Describe a bundle to MONAI's users, and to the node under `dae_pacs`."""
    image = {
        "type": "image",
        "format": "magnitude",
        "num_channels": 1,
        "spatial_shape": ["8*n", "8*n"],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {"0": "image, stabilised: its noise has a standard deviation of about 1"},
    }
    return {
        "schema": SCHEMA,
        "version": facts.version,
        "changelog": {facts.version: "trained"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"pytorch-ignite": ignite.__version__},
        "name": facts.name,
        "task": "Denoising of medical images",
        "description": facts.description,
        "authors": facts.author,
        "copyright": f"Copyright {facts.author[:1].lower()}{facts.author[1:]}",
        "intended_use": "Research and evaluation; not a medical device.",
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": {**image, "channel_def": {"0": "the noise-free image, in the same units"}}},
        },
        "dae_pacs": {"default_strength": DEFAULT_STRENGTH, "clamp_sigma": CLAMP_SIGMA},
    }
