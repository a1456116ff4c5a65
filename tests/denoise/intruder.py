"""Bundles as a stranger sends them, and an eye on what is opened, run and written meanwhile."""

import os
import sys
import zipfile
from pathlib import Path

import pytest

from dae_pacs.denoise import shelf
from dae_pacs.denoise.package import open_package
from dae_pacs.errors import BundleError

NAME = "chest_radiograph_denoising"
WEIGHTS = "models/model.safetensors"


class Bomb:
    """Writes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self._canary}",)


OPENED: list[str] = []
"""What this process opened or ran; an audit hook, once in place, stays."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"open", "os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}:
        OPENED.append(f"{event} {arguments[0]!r}")


def watch() -> None:
    """Note from now on what this process opens and runs."""
    sys.addaudithook(_watch)


def zipped(folder: Path, *, inside: str = NAME, target: Path | None = None) -> Path:
    archive = target or folder.parent / "bundle.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            file.write(path, f"{inside}/{name}" if inside else name)
    return archive


def add(source: Path, site: Path, **options: object) -> None:
    with open_package(source) as package:
        shelf.put(package, site, **options)


def refused(source: Path, site: Path, *words: str, **options: object) -> None:
    before = _snapshot(site.parent)
    with pytest.raises(BundleError) as refusal:
        add(source, site, **options)
    for word in words:
        assert word in str(refusal.value)
    assert _snapshot(site.parent) == before, "something was written"


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
