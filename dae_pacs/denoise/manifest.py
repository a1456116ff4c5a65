"""A bundle's manifest: which files it has, and with which bytes. Costs no torch, so that the node can ask.

What is said here holds wherever a bundle's bytes come from: a folder, or an archive that nobody has unpacked.
"""

import hashlib
import json
import stat
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.errors import BundleError

MANIFEST = "manifest.json"
METADATA = "configs/metadata.json"
NETWORK = "configs/network.json"
WEIGHTS = "models/model.safetensors"
DECIDING_FOLDERS = ("configs", "models")
"""What the digest is taken over: a corrected sentence in the model card makes no new model."""

MAX_JSON_BYTES = 1 << 20
MAX_FILE_BYTES = 2 << 30
MAX_FILES = 200

Read = Callable[[str, int], bytes]
"""Gives the bytes of a file of the bundle, by its name; at most so many."""


def entries_of(read: Read) -> dict[str, tuple[int, str]]:
    """Read which files a bundle has: name to (bytes, SHA-256).

    Raises:
        BundleError: there is no manifest, or it is none.
    """
    manifest = parse_json(read(MANIFEST, MAX_JSON_BYTES), MANIFEST)
    files = manifest.get("files")
    if manifest.get("format") != 1 or not isinstance(files, dict):
        raise BundleError(f"{MANIFEST}: expected format 1 with an object 'files'.")
    if len(files) > MAX_FILES:
        raise BundleError(f"{MANIFEST}: lists {len(files)} files; expected at most {MAX_FILES}.")
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


def bundle_digest(folder: Path) -> str:
    """Say what a bundle is, by its manifest; whether its files are so shows when they are read.

    Raises:
        BundleError: there is no manifest, or it is none.
    """
    return digest_of(entries_of(lambda name, most_bytes: read_file(folder, name, most_bytes)))


def digest_of(entries: Mapping[str, tuple[int, str]]) -> str:
    """Give one digest for all that decides what a model does."""
    deciding = {
        name: {"bytes": size, "sha256": digest}
        for name, (size, digest) in entries.items()
        if name.split("/", 1)[0] in DECIDING_FOLDERS
    }
    return hashlib.sha256(json.dumps(deciding, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def read_file(folder: Path, name: str, most_bytes: int) -> bytes:
    """Read a regular file below a folder without following a link on the way.

    Raises:
        BundleError: it is missing, is no regular file, goes through a link, or is too large.
    """
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


def read_listed(bundle: str, name: str, entry: tuple[int, str], read: Read) -> bytes:
    """Read a file of a bundle whose bytes are what the manifest says.

    Raises:
        BundleError: they are others.
    """
    size, digest = entry
    content = read(name, MAX_JSON_BYTES if name.endswith(".json") else MAX_FILE_BYTES)
    found = hashlib.sha256(content).hexdigest()
    if len(content) != size or found != digest:
        raise BundleError(
            f"Bundle {bundle}: {name} is not what {MANIFEST} says (SHA-256 {found[:12]}…, expected "
            f"{digest[:12]}…). Fetch the bundle again, or write its manifest if you changed it on purpose."
        )
    return content


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Parse a file that must hold a JSON object.

    Raises:
        BundleError: it does not.
    """
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise BundleError(f"{name}: no valid JSON ({problem}). Fetch the bundle again.") from problem
    if not isinstance(value, dict):
        raise BundleError(f"{name}: expected a JSON object, found {type(value).__name__}.")
    return value


def identity_of(
    name: str, entries: Mapping[str, tuple[int, str]], metadata: Mapping[str, Any]
) -> ModelIdentity:
    """Say which model a bundle holds, by its manifest's entries and its metadata.

    Raises:
        BundleError: the metadata lack something, or a value is out of range.
    """
    settings = metadata.get("dae_pacs")
    if not isinstance(settings, dict):
        raise BundleError(f"Bundle {name}: {METADATA} has no object 'dae_pacs' with our settings.")
    return ModelIdentity(
        name=name,
        version=_version(metadata),
        digest=digest_of(entries),
        default_strength=number_of(settings, "default_strength", low=0, high=1),
    )


def _version(metadata: Mapping[str, Any]) -> str:
    version = metadata.get("version")
    if not isinstance(version, str) or not version.strip():
        raise BundleError(f"{METADATA}: version is {version!r}; expected text such as '0.1.0'.")
    return version


def number_of(settings: Mapping[str, Any], name: str, *, low: float, high: float) -> float:
    """Read one of our numbers from a bundle's metadata.

    Raises:
        BundleError: it is missing or out of range.
    """
    value = settings.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise BundleError(f"{METADATA}: dae_pacs.{name} is {value!r}; expected {low:g} to {high:g}.")
    return float(value)
