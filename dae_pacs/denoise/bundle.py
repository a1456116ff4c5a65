"""Model bundles, read as data: nothing in one is imported, evaluated or unpickled.

A bundle is a folder laid out as in Project-MONAI/model-zoo. Its manifest.json lists every file with its size
and SHA-256; what a file says counts only after its bytes matched. Files that the manifest does not list are
never opened.
"""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from dae_pacs.denoise.network import build
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.durable import durable_file
from dae_pacs.errors import BundleError

MANIFEST = "manifest.json"
METADATA = "configs/metadata.json"
NETWORK = "configs/network.json"
WEIGHTS = "models/model.safetensors"
DECIDING_FOLDERS = ("configs", "models")
"""What the digest is taken over: a corrected sentence in the model card makes no new model."""

MAX_JSON_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
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
    manifest = _read_json(_read(folder, MANIFEST, MAX_JSON_BYTES), MANIFEST)
    entries = _entries(manifest)
    for name in (METADATA, NETWORK, WEIGHTS):
        if name not in entries:
            raise BundleError(
                f"Bundle {folder.name}: {MANIFEST} does not list {name}. A bundle needs {METADATA}, "
                f"{NETWORK} and {WEIGHTS}; weights are read from safetensors alone, never from a pickle."
            )
    contents = {name: _read_listed(folder, name, entries[name]) for name in entries}
    metadata = _read_json(contents[METADATA], METADATA)
    network_config = _read_json(contents[NETWORK], NETWORK)
    weights = _read_weights(contents[WEIGHTS])
    _check_fit(network_config, weights)
    settings = metadata.get("dae_pacs")
    if not isinstance(settings, dict):
        raise BundleError(f"Bundle {folder.name}: {METADATA} has no object 'dae_pacs' with our settings.")
    identity = ModelIdentity(
        name=folder.resolve().name,
        version=_version(metadata),
        digest=_digest(entries),
        default_strength=_number(settings, "default_strength", low=0, high=1),
    )
    return Bundle(
        folder=folder,
        identity=identity,
        clamp_sigma=_number(settings, "clamp_sigma", low=0, high=MAX_CLAMP_SIGMA),
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
        content = _read(folder, name, MAX_FILE_BYTES)
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    missing = [name for name in (METADATA, NETWORK, WEIGHTS) if name not in files]
    if missing:
        raise BundleError(f"Bundle {folder.name}: {', '.join(missing)} is missing; the manifest comes last.")
    with durable_file(folder / MANIFEST) as file:
        file.write(json.dumps({"format": 1, "files": files}, indent=2, sort_keys=True).encode() + b"\n")


def _entries(manifest: Mapping[str, Any]) -> dict[str, tuple[int, str]]:
    """Take the manifest apart: name to (bytes, SHA-256)."""
    files = manifest.get("files")
    if manifest.get("format") != 1 or not isinstance(files, dict):
        raise BundleError(f"{MANIFEST}: expected format 1 with an object 'files'.")
    entries = {}
    for name, entry in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or name != path.as_posix() or name == ".":
            raise BundleError(f"{MANIFEST}: {name!r} is no plain path inside the bundle. Don't use it.")
        size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if not isinstance(size, int) or isinstance(size, bool) or not isinstance(digest, str):
            raise BundleError(f"{MANIFEST}: {name} needs 'bytes' (whole) and 'sha256' (hexadecimal).")
        entries[name] = (size, digest)
    return entries


def _digest(entries: Mapping[str, tuple[int, str]]) -> str:
    deciding = {
        name: {"bytes": size, "sha256": digest}
        for name, (size, digest) in entries.items()
        if name.split("/", 1)[0] in DECIDING_FOLDERS
    }
    return hashlib.sha256(json.dumps(deciding, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def _read(folder: Path, name: str, most_bytes: int) -> bytes:
    """Read a regular file below a folder without following a link on the way."""
    path = folder
    try:
        for part in PurePosixPath(name).parts:
            path = path / part
            kind = path.lstat()
            if stat.S_ISLNK(kind.st_mode):
                raise BundleError(
                    f"Bundle {folder.name}: {name} is or goes through a link; a bundle has none."
                )
        if not stat.S_ISREG(kind.st_mode):
            raise BundleError(f"Bundle {folder.name}: {name} is no regular file.")
        if kind.st_size > most_bytes:
            raise BundleError(
                f"Bundle {folder.name}: {name} has {kind.st_size} bytes; expected at most {most_bytes}."
            )
        return path.read_bytes()
    except OSError as problem:
        raise BundleError(
            f"Bundle {folder.name}: {name} can't be read ({problem.strerror}). Fetch the bundle again."
        ) from problem


def _read_listed(folder: Path, name: str, entry: tuple[int, str]) -> bytes:
    size, digest = entry
    content = _read(folder, name, MAX_JSON_BYTES if name.endswith(".json") else MAX_FILE_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if len(content) != size or found != digest:
        raise BundleError(
            f"Bundle {folder.name}: {name} is not what {MANIFEST} says (SHA-256 {found[:12]}…, expected "
            f"{digest[:12]}…). Fetch the bundle again, or write its manifest if you changed it on purpose."
        )
    return content


def _read_json(content: bytes, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{name}: no valid JSON ({problem}). Fetch the bundle again.") from problem
    if not isinstance(value, dict):
        raise BundleError(f"{name}: expected a JSON object, found {type(value).__name__}.")
    return value


def _read_weights(content: bytes) -> dict[str, Tensor]:
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


def _version(metadata: Mapping[str, Any]) -> str:
    version = metadata.get("version")
    if not isinstance(version, str) or not version.strip():
        raise BundleError(f"{METADATA}: version is {version!r}; expected text such as '0.1.0'.")
    return version


def _number(settings: Mapping[str, Any], name: str, *, low: float, high: float) -> float:
    value = settings.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BundleError(f"{METADATA}: dae_pacs.{name} is {value!r}; expected {low:g} to {high:g}.")
    return float(value)
