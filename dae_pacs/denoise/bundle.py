"""Model bundles, read as data: nothing in one is imported, evaluated or unpickled.

A bundle is a folder laid out as in Project-MONAI/model-zoo. Its manifest.json lists every file with its size
and SHA-256; what a file says counts only after its bytes matched. Files that the manifest does not list are
never opened.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dae_pacs.denoise.manifest import (
    MANIFEST,
    MAX_FILE_BYTES,
    METADATA,
    NETWORK,
    WEIGHTS,
    Read,
    entries_of,
    identity_of,
    number_of,
    parse_json,
    read_file,
    read_listed,
)
from dae_pacs.denoise.network import build
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.durable import durable_file
from dae_pacs.errors import BundleError

MAX_HEADER_BYTES = 1 << 20
_HEADER_COUNT_BYTES = 8
"""A safetensors file begins with the length of its header, which is JSON."""
MAX_CLAMP_SIGMA = 10.0


@dataclass(frozen=True)
class Bundle:
    """A bundle whose every listed byte matched its manifest."""

    folder: Path
    identity: ModelIdentity
    clamp_sigma: float
    """The most that a pixel may change, in standard deviations of the noise."""
    metadata: Mapping[str, Any] = field(repr=False)
    network_config: Mapping[str, Any] = field(repr=False)
    weights: Mapping[str, Tensor] = field(repr=False)

    def network(self) -> nn.Module:
        """Build the network with its weights, in evaluation mode, on the CPU."""
        with torch.device("meta"):
            network = build(self.network_config)
        network.load_state_dict(dict(self.weights), assign=True)
        return network.eval().requires_grad_(requires_grad=False)


def load_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: a file is missing, is a link, lies outside the folder, does not match the manifest,
            or does not describe a network that we build with weights that fit it.
    """
    return check_bundle(folder, lambda name, most_bytes: read_file(folder, name, most_bytes))


def check_bundle(folder: Path, read: Read) -> Bundle:
    """Check a bundle wherever its bytes are; nothing is written, and nothing of it is run.

    Args:
        folder: where it is, or is to be; its last part is the bundle's name.
        read: gives the bytes of its files.

    Raises:
        BundleError: as `load_bundle`.
    """
    entries = entries_of(read)
    for name in (METADATA, NETWORK, WEIGHTS):
        if name not in entries:
            raise BundleError(
                f"Bundle {folder.name}: {MANIFEST} does not list {name}. A bundle needs {METADATA}, "
                f"{NETWORK} and {WEIGHTS}; weights are read from safetensors alone, never from a pickle."
            )
    contents = {}
    for name, entry in entries.items():
        content = read_listed(folder.name, name, entry, read)
        if name in (METADATA, NETWORK, WEIGHTS):
            contents[name] = content
    metadata = parse_json(contents[METADATA], METADATA)
    network_config = parse_json(contents[NETWORK], NETWORK)
    weights = _read_weights(contents[WEIGHTS])
    _check_fit(network_config, weights)
    identity = identity_of(folder.resolve().name, entries, metadata)
    return Bundle(
        folder=folder,
        identity=identity,
        clamp_sigma=number_of(metadata["dae_pacs"], "clamp_sigma", low=0, high=MAX_CLAMP_SIGMA),
        metadata=metadata,
        network_config=network_config,
        weights=weights,
    )


def write_manifest(folder: Path) -> None:
    """List every file of a bundle with its size and SHA-256 in its manifest.json, durably.

    Raises:
        BundleError: a file is missing or is a link.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        is_folder = path.is_dir() and not path.is_symlink()
        if (
            is_folder
            or name == MANIFEST
            or any(part.startswith(".") for part in path.relative_to(folder).parts)
        ):
            continue
        content = read_file(folder, name, MAX_FILE_BYTES)
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    missing = [name for name in (METADATA, NETWORK, WEIGHTS) if name not in files]
    if missing:
        raise BundleError(f"Bundle {folder.name}: {', '.join(missing)} is missing; the manifest comes last.")
    with durable_file(folder / MANIFEST) as file:
        file.write(json.dumps({"format": 1, "files": files}, indent=2, sort_keys=True).encode() + b"\n")


def _read_weights(content: bytes) -> dict[str, Tensor]:
    announced = int.from_bytes(content[:_HEADER_COUNT_BYTES], "little")
    if announced > MAX_HEADER_BYTES:
        raise BundleError(
            f"{WEIGHTS}: no valid safetensors, its header announces {announced} bytes; expected at most "
            f"{MAX_HEADER_BYTES}. Don't use it."
        )
    try:
        weights = safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as problem:
        raise BundleError(f"{WEIGHTS}: no valid safetensors ({problem}). Fetch it again.") from problem
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            raise BundleError(f"{WEIGHTS}: {name} is {tensor.dtype}; expected floating-point weights.")
        if not torch.isfinite(tensor).all():
            raise BundleError(f"{WEIGHTS}: {name} holds values that are not finite. Train it again.")
    return {name: tensor.to(torch.float32) for name, tensor in weights.items()}


def _check_fit(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Compare keys and shapes on a network without memory, so that a huge one costs nothing."""
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in build(config).state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if wrong:
        name = wrong[0]
        raise BundleError(
            f"{WEIGHTS}: {len(wrong)} tensors do not fit {NETWORK}; the first is {name}: found "
            f"{found.get(name, 'none')}, expected {expected.get(name, 'none')}. "
            "Weights and network must come from the same training run."
        )
