"""What a bundle says of itself, without torch: for whoever shows models, and runs none."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

from dae_pacs.denoise.manifest import (
    MANIFEST,
    MAX_FILE_BYTES,
    MAX_JSON_BYTES,
    METADATA,
    NETWORK,
    WEIGHTS,
    digest_of,
    entries_of,
    parse_json,
    read_file,
)
from dae_pacs.errors import BundleError

README: Final = "docs/README.md"
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class ListedFile:
    """A file of a bundle, as its manifest has it."""

    name: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Card:
    """A bundle in words and figures."""

    name: str
    folder: Path
    version: str
    digest: str
    description: str
    intended_use: str
    task: str
    authors: str
    default_strength: float
    clamp_sigma: float
    """The most that a pixel may change, in standard deviations of the noise."""
    network: Mapping[str, Any]  # Any: what JSON holds
    weights: int
    """How many numbers were learned."""
    files: tuple[ListedFile, ...]
    readme: str
    """Markdown, as its makers wrote it: a stranger's text."""


def read_card(folder: Path) -> Card:
    """Read what a bundle says, every file that is used held against the manifest.

    Raises:
        BundleError: it is broken, or not what its manifest says.
    """
    entries = entries_of(lambda name, most_bytes: read_file(folder, name, most_bytes))
    metadata = parse_json(_listed(folder, METADATA, entries), METADATA)
    network = parse_json(_listed(folder, NETWORK, entries), NETWORK)
    readme = _listed(folder, README, entries) if README in entries else b""
    _check_weights(folder, entries)
    own = metadata.get("dae_pacs")
    return Card(
        name=folder.resolve().name,
        folder=folder,
        version=_text(metadata, "version"),
        digest=digest_of(entries),
        description=_text(metadata, "description"),
        intended_use=_text(metadata, "intended_use"),
        task=_text(metadata, "task"),
        authors=_text(metadata, "authors"),
        default_strength=_number(own, "default_strength"),
        clamp_sigma=_number(own, "clamp_sigma"),
        network=network,
        weights=_count_weights(folder),
        files=tuple(ListedFile(name, size, digest) for name, (size, digest) in sorted(entries.items())),
        readme=readme.decode("utf-8", "replace"),
    )


def default_strength(folder: Path) -> float:
    """Say at which strength a bundle denoises where nobody names another.

    Raises:
        BundleError: it does not say.
    """
    metadata = parse_json(read_file(folder, METADATA, MAX_JSON_BYTES), METADATA)
    return _number(metadata.get("dae_pacs"), "default_strength")


def read_picture(folder: Path, name: str) -> bytes:
    """Read a PNG of a bundle that its manifest lists.

    Raises:
        BundleError: there is none of that name, or it is not what the manifest says.
    """
    entries = entries_of(lambda file, most_bytes: read_file(folder, file, most_bytes))
    if name not in entries or not name.endswith(".png"):
        raise BundleError(f"Bundle {folder.name}: has no picture {name!r}.")
    return _listed(folder, name, entries)


def _listed(folder: Path, name: str, entries: Mapping[str, tuple[int, str]]) -> bytes:
    if name not in entries:
        raise BundleError(f"Bundle {folder.name}: {MANIFEST} does not list {name}. Fetch the bundle again.")
    content = read_file(folder, name, MAX_JSON_BYTES if name.endswith(".json") else MAX_FILE_BYTES)
    _refuse_another(folder, name, hashlib.sha256(content).hexdigest(), entries)
    return content


def _check_weights(folder: Path, entries: Mapping[str, tuple[int, str]]) -> None:
    if WEIGHTS not in entries:
        raise BundleError(f"Bundle {folder.name}: {MANIFEST} does not list {WEIGHTS}. Fetch it again.")
    path = folder / WEIGHTS
    try:
        state = path.lstat()
        found = _file_digest(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise BundleError(
            f"Bundle {folder.name}: {WEIGHTS} can't be read ({error.strerror or type(error).__name__}). "
            "Check its rights."
        ) from error
    _refuse_another(folder, WEIGHTS, found, entries)


def _refuse_another(folder: Path, name: str, found: str, entries: Mapping[str, tuple[int, str]]) -> None:
    expected = entries[name][1]
    if found != expected:
        raise BundleError(
            f"Bundle {folder.name}: {name} is not what {MANIFEST} says (SHA-256 {found[:12]}…, expected "
            f"{expected[:12]}…). Fetch the bundle again."
        )


@lru_cache(maxsize=64)
def _file_digest(path: Path, _size_bytes: int, _changed_ns: int) -> str:
    """Digest a large file once, for as long as its size and time stay the same."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _count_weights(folder: Path) -> int:
    """Count the numbers in a safetensors file by its header, which is JSON behind its length."""
    try:
        with (folder / WEIGHTS).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, MAX_JSON_BYTES)))
        return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleError(
            f"Bundle {folder.name}: {WEIGHTS} has no header that can be read. Fetch the bundle again."
        ) from error


def _text(metadata: Mapping[str, Any], name: str) -> str:
    value = metadata.get(name, "")
    return value if isinstance(value, str) else ""


def _number(settings: object, name: str) -> float:
    value = settings.get(name) if isinstance(settings, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise BundleError(f"{METADATA}: dae_pacs.{name} is {value!r}; expected a number.")
    return float(value)
