"""Put bundles on a site's shelf and take them off: each is there whole, or not at all."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dae_pacs.denoise.bundle import Bundle, check_bundle
from dae_pacs.denoise.manifest import MANIFEST, MAX_FILE_BYTES, MAX_JSON_BYTES, entries_of
from dae_pacs.denoise.package import Package
from dae_pacs.durable import flush_file, flush_folder
from dae_pacs.errors import BundleError
from dae_pacs.resources import is_bundle_name


def put(package: Package, shelf: Path, *, name: str | None = None, replace: bool = False) -> Bundle:
    """Check a bundle from outside, and then, and only then, write it.

    Args:
        package: as `open_package` found it.
        shelf: the folder of the site's own bundles; made if missing.
        name: what it is to be called; None keeps its own name.
        replace: whether one of that name may be there.

    Raises:
        BundleError: it is not in order, its name is none or is taken, or the shelf can't be written.
    """
    chosen = name or package.name
    if not is_bundle_name(chosen):
        raise BundleError(
            f"{chosen!r} is no name of a bundle, which has lower-case letters, digits and underscores. "
            "Give one with --name."
        )
    target = shelf / chosen
    if os.path.lexists(target) and not replace:
        raise BundleError(f"{target} is there already. Use --replace, or another --name.")
    if target.is_symlink():
        raise BundleError(f"{target} is a link; what it leads to is not replaced. Remove the link first.")
    bundle = check_bundle(target, package.read)
    listed = {**entries_of(package.read), MANIFEST: None}
    stray = sorted(set(package.files) - listed.keys())
    if stray:
        raise BundleError(
            f"Bundle {chosen}: {len(stray)} files are not in its {MANIFEST}, the first {stray[0]!r}. "
            "Fetch it again, or take them out."
        )
    try:
        _write(package, target)
    except OSError as error:
        raise BundleError(
            f"{target} can't be written ({error.strerror or type(error).__name__}). Check the rights of "
            f"{shelf}, and that its disk has room; nothing was changed."
        ) from error
    return bundle


def take(shelf: Path, name: str) -> None:
    """Delete a bundle of the site.

    Raises:
        BundleError: there is none of that name, or it can't be deleted.
    """
    target = shelf / name
    if not is_bundle_name(name) or target.is_symlink() or not (target / MANIFEST).is_file():
        raise BundleError(
            f"{name!r} is no bundle of this site in {shelf}. See what there is: dae-pacs models list"
        )
    gone = shelf / f".{name}.{secrets.token_hex(4)}.old"
    try:
        target.rename(gone)
        flush_folder(shelf)
        shutil.rmtree(gone)
    except OSError as error:
        raise BundleError(
            f"{target} can't be deleted ({error.strerror or type(error).__name__}). Check its rights."
        ) from error


def _write(package: Package, target: Path) -> None:
    shelf = target.parent
    shelf.mkdir(parents=True, exist_ok=True)
    with _scratch(shelf, target.name) as part:
        for name in package.files:
            _write_file(package, name, part / name)
        for folder in sorted({part, *(path for path in part.rglob("*") if path.is_dir())}):
            flush_folder(folder)
        old = part.with_suffix(".old")
        if target.exists():
            target.rename(old)
        try:
            part.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        flush_folder(shelf)
        shutil.rmtree(old, ignore_errors=True)


def _write_file(package: Package, name: str, path: Path) -> None:
    """Write a file, and hold what was read now against the manifest once more."""
    content = package.read(name, MAX_JSON_BYTES if name.endswith(".json") else MAX_FILE_BYTES)
    if name != MANIFEST:
        _, digest = entries_of(package.read)[name]
        if hashlib.sha256(content).hexdigest() != digest:
            raise BundleError(f"{name} changed while it was read. Fetch the bundle again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        flush_file(file)


@contextmanager
def _scratch(shelf: Path, name: str) -> Iterator[Path]:
    """Make a folder that is gone at the end, unless it was moved to its place."""
    part = shelf / f".{name}.{secrets.token_hex(4)}.part"
    part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
