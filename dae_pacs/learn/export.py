"""Turn trained weights into a bundle that the node loads: data only, every file in its manifest."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ignite
import monai
import numpy as np
import safetensors.torch
import torch
from torch import nn

from dae_pacs.denoise.bundle import METADATA, NETWORK, WEIGHTS, write_manifest
from dae_pacs.errors import TrainingError
from dae_pacs.learn.card import write_card
from dae_pacs.learn.configuration import CONFIGURATION
from dae_pacs.learn.data import Data
from dae_pacs.learn.network import network_config

logger = logging.getLogger(__name__)

DEFAULT_STRENGTH = 0.7
"""A flat region keeps 0.3 of its noise, and an erased lesion 0.3 of its contrast (DESIGN.md, "Denoising")."""
CLAMP_SIGMA = 3.0
"""No pixel changes by more than this many standard deviations of its noise (DESIGN.md, "Denoising")."""


@dataclass(frozen=True)
class Facts:
    """What a bundle says about where it comes from."""

    name: str
    version: str
    description: str
    data: Data
    scores: str | Path
    """The JSON-lines file of the validations; beside it stands the run's configuration."""
    settings: Mapping[str, Any]
    """The knobs of the recipe that the card shows."""


def export_bundle(
    network: nn.Module, folder: str | Path, *, architecture: Mapping[str, Any], facts: Facts
) -> Path:
    """Write a bundle; an older one under that name is replaced once the new one is whole.

    Raises:
        TrainingError: a weight is not finite, or the folder can't be written.
    """
    target = Path(folder)
    part = target.with_name(f".{target.name}.part")
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise TrainingError(
            f"{len(broken)} weights are not finite, the first {broken[0]}: nothing was exported. "
            "Lower the learning rate (--learning_rate) and train again."
        )
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name in ("configs", "docs", "models"):
            (part / name).mkdir(parents=True)
        _write_json(part / NETWORK, network_config(architecture))
        _write_json(part / METADATA, metadata(facts))
        (part / "configs" / "inference.yaml").write_text(INFERENCE, encoding="utf-8")
        configuration = Path(facts.scores).with_name(CONFIGURATION)
        if configuration.is_file():
            shutil.copyfile(configuration, part / "configs" / "train.yaml")
        # Not save_file: its files can be read by their owner alone, and a node runs as another user.
        (part / WEIGHTS).write_bytes(safetensors.torch.save(weights))
        write_card(part / "docs" / "README.md", facts)
        write_manifest(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    except OSError as error:
        raise TrainingError(
            f"bundle {target} can't be written: {error.strerror}. Free some room there."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    logger.info("bundle written to %s", target)
    return target


def metadata(facts: Facts) -> dict[str, Any]:
    """Describe the bundle as MONAI's metadata schema (2024-07-25) asks, and to the node under `dae_pacs`."""
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
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": facts.version,
        "changelog": {facts.version: "trained"},
        "monai_version": monai.__version__,
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": np.__version__,
        "required_packages_version": {"pytorch-ignite": ignite.__version__},
        "name": facts.name,
        "task": "Denoising of medical images",
        "description": facts.description,
        "authors": "The dae-pacs authors",
        "copyright": "Copyright the dae-pacs authors",
        "intended_use": "Research and evaluation; not a medical device.",
        "network_data_format": {
            "inputs": {"image": image},
            "outputs": {"pred": {**image, "channel_def": {"0": "the noise-free image, in the same units"}}},
        },
        "dae_pacs": {"default_strength": DEFAULT_STRENGTH, "clamp_sigma": CLAMP_SIGMA},
    }


INFERENCE = """\
# Denoise a folder with this bundle:
#   python -m monai.bundle run --config_file configs/inference.yaml --data_dir IMAGES --output_dir OUT
bundle_root: .
data_dir: data
output_dir: denoised
device: auto
strength: null          # null: the bundle's default
denoise:
  _target_: dae_pacs.cli.denoise.denoise_folder
  _mode_: callable
  bundle: "@bundle_root"
  folder: "@data_dir"
  output: "@output_dir"
  device: "@device"
  strength: "@strength"
run: ["$@denoise()"]
"""


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
