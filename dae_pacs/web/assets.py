"""Static files, read once into memory: no path of a request ever meets the disk."""

import hashlib
import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

_TYPES: Final = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""As browsers must have them under nosniff, whatever the machine's own table says."""


@dataclass(frozen=True)
class Asset:
    """One file."""

    body: bytes
    media_type: str
    version: str
    """The first part of its digest."""


@dataclass(frozen=True)
class Assets:
    """All files below web/static, by their path from there."""

    by_path: Mapping[str, Asset]

    def url(self, path: str) -> str:
        """Give the address of a file, which changes when the file does."""
        return f"/static/{path}?v={self.by_path[path].version}"


def read_assets() -> Assets:
    """Read every static file of the package."""
    return Assets(dict(_walk(files("dae_pacs.web").joinpath("static"), PurePosixPath())))


def _walk(folder: Traversable, at: PurePosixPath) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        path = at / entry.name
        if entry.is_dir():
            found += _walk(entry, path)
        else:
            body = entry.read_bytes()
            kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
            found.append((str(path), Asset(body, kind, hashlib.sha256(body).hexdigest()[:16])))
    return found
