"""Turn trained weights into a bundle that the node loads: data only, every file in its manifest."""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from torch import nn

from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.denoise.manifest import METADATA, NETWORK, WEIGHTS
from dae_pacs.errors import TrainingError
from dae_pacs.learn.card import write_card
from dae_pacs.learn.configuration import CONFIGURATION
from dae_pacs.learn.curves import draw_curves, read_scores
from dae_pacs.learn.facts import Facts
from dae_pacs.learn.measure import noise_models
from dae_pacs.learn.metadata import metadata
from dae_pacs.learn.network import network_config

logger = logging.getLogger(__name__)

NOISE = "configs/noise.json"
MOST_PICTURES = 3
HIDDEN = "not told"


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
        # Not save_file: its files can be read by their owner alone, and a node runs as another user.
        (part / WEIGHTS).write_bytes(safetensors.torch.save(weights))
        _write_facts(part, facts)
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


def publish(bundle: Path, folder: Path, *, replace: bool) -> Path:
    """Copy a finished bundle to where the node finds it; it appears there whole or not at all.

    Args:
        bundle: as `export_bundle` left it.
        folder: of the site's own bundles; made if missing.
        replace: whether one of that name may be there.

    Raises:
        BundleError: the bundle is not whole.
        TrainingError: there is one of that name, or the folder can't be written.
    """
    target, part, old = (
        folder / name for name in (bundle.name, f".{bundle.name}.part", f".{bundle.name}.old")
    )
    if target.exists() and not replace:
        raise TrainingError(
            f"{target} is there already; the new bundle is {bundle}. Use --replace, or --name."
        )
    try:
        for left_over in (part, old):
            shutil.rmtree(left_over, ignore_errors=True)
        shutil.copytree(bundle, part)
        load_bundle(part)
        if target.exists():
            target.rename(old)
        part.rename(target)
    except OSError as error:
        raise TrainingError(
            f"{target} can't be written: {error.strerror or error}. The bundle itself is whole, in {bundle}: "
            "make room, and copy it there."
        ) from error
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for left_over in (part, old):
            shutil.rmtree(left_over, ignore_errors=True)
    return target


def _write_facts(part: Path, facts: Facts) -> None:
    _write_json(part / METADATA, metadata(facts))
    (part / "configs" / "inference.yaml").write_text(INFERENCE, encoding="utf-8")
    models = noise_models(facts.data)
    if models:
        _write_json(part / NOISE, {"models": [json.loads(model.to_json()) for model in models]})
    configuration = Path(facts.scores).with_name(CONFIGURATION)
    if configuration.is_file():
        text = configuration.read_text(encoding="utf-8")
        (part / "configs" / "train.yaml").write_text(_hide(text, facts.hidden), encoding="utf-8")
    docs = part / "docs"
    scores = read_scores(Path(facts.scores))
    pictures = []
    if scores:
        draw_curves(docs / "course.png", scores)
        pictures.append("course.png")
    if facts.pictures is not None:
        for place, picture in enumerate(sorted(Path(facts.pictures).glob("*.png"))[-MOST_PICTURES:]):
            name = f"picture_{place + 1}.png"  # its own name may be a patient's
            shutil.copyfile(picture, docs / name)
            pictures.append(name)
    write_card(docs / "README.md", facts, scores=scores, pictures=pictures)


def _hide(configuration: str, names: Sequence[str]) -> str:
    if not names:
        return configuration
    entries = yaml.safe_load(configuration)
    shown = {name: HIDDEN if name in names and value else value for name, value in entries.items()}
    return str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))


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
