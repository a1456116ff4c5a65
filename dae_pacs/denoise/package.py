"""A bundle as it comes from outside: a zip archive or a folder, looked at before anything of it is written.

Names, kinds and sizes are judged from the listing alone; what is read is read into memory, in bounds, and
nothing is unpacked, imported or run.
"""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dae_pacs.denoise.manifest import MANIFEST, MAX_FILE_BYTES, MAX_FILES, Read, read_file
from dae_pacs.errors import BundleError

KNOWN = frozenset({".json", ".yaml", ".yml", ".md", ".txt", ".png", ".safetensors"})
"""What a bundle is made of; a licence has no ending."""
PLAIN = frozenset({"LICENSE", "NOTICE"})
PICKLES = frozenset({".pt", ".pth", ".ts", ".pkl", ".pickle", ".bin", ".ckpt", ".npy", ".npz"})
MAX_TOTAL_BYTES = 3 << 30
MAX_DEPTH = 4
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
_UNIX = 3  # create_system of a zip entry (APPNOTE.TXT 4.4.2)
_ENCRYPTED = 0x1  # general purpose bit 0 (APPNOTE.TXT 4.4.4)
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_END = b"PK\x05\x06"
_END_BYTES = 22
_COMMENT_BYTES = 65535
_MAX_LISTING_BYTES = 1 << 20
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises on an archive that is none."""


@dataclass(frozen=True)
class Package:
    """A bundle from outside whose listing is in order."""

    name: str
    """Of the bundle, by its folder or its file; not yet checked."""
    files: tuple[str, ...]
    read: Read


@dataclass(frozen=True)
class _Listed:
    path: str
    is_folder: bool
    size_bytes: int


@contextmanager
def open_package(source: Path) -> Iterator[Package]:
    """Open a bundle that somebody gives.

    Raises:
        BundleError: it is neither an archive nor a folder, or its listing holds what no bundle has.
    """
    if source.is_dir():
        yield _folder(source)
        return
    try:
        with source.open("rb") as file:
            _refuse_huge_listing(source, file.seek(0, os.SEEK_END), _tail(source))
        with zipfile.ZipFile(source) as archive:
            yield _archive(source, archive)
    except _DAMAGE as error:
        raise BundleError(
            f"{source}: can't be read as a zip archive. Give a bundle's folder, or a zip of it, fetched anew."
        ) from error
    except OSError as error:
        raise BundleError(
            f"{source}: can't be read ({error.strerror or type(error).__name__}). Check the path."
        ) from error


def _folder(source: Path) -> Package:
    listed = list(_walk(source))
    root = _root(source, listed)
    _check(source, listed)
    if root:  # the folder around the bundle's own
        source = source / root
    files = _below(root, listed)
    return Package(source.resolve().name, files, lambda name, most: read_file(source, name, most))


def _walk(source: Path) -> Iterator[_Listed]:
    """List a folder without following a link."""
    waiting, count = [source], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(source).as_posix()
                found = entry.stat(follow_symlinks=False)
                _refuse_kind(source, name, found.st_mode)
                is_folder = stat.S_ISDIR(found.st_mode)
                count += 1
                if count > 2 * MAX_FILES:
                    raise BundleError(f"{source}: holds more than {2 * MAX_FILES} entries; no bundle does.")
                yield _Listed(name, is_folder, 0 if is_folder else found.st_size)
                if is_folder:
                    waiting.append(path)


def _archive(source: Path, archive: zipfile.ZipFile) -> Package:
    listed = []
    for info in archive.infolist():
        if info.create_system == _UNIX:
            _refuse_kind(source, info.filename, info.external_attr >> 16)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise BundleError(
                f"{source}: {info.filename!r} is encrypted, or packed in a way that is not read here. "
                "Pack it with deflate, without a password."
            )
        listed.append(_Listed(info.orig_filename.removesuffix("/"), info.is_dir(), info.file_size))
    _check(source, listed)
    root = _root(source, listed)

    def read(name: str, most_bytes: int) -> bytes:
        """Read one file; an archive that says less than it holds is found out."""
        inside = f"{root}/{name}" if root else name
        try:
            with archive.open(inside) as file:
                content = file.read(most_bytes + 1)
        except KeyError as error:
            raise BundleError(f"{source}: has no {name}. Fetch the bundle again.") from error
        if len(content) > most_bytes:
            raise BundleError(f"{source}: {name} is larger than {most_bytes} bytes, the most it may have.")
        return content

    return Package(root or source.stem, _below(root, listed), read)


def _refuse_kind(source: Path, name: str, mode: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        what = "a link" if kind == stat.S_IFLNK else "a device, pipe or socket"
        raise BundleError(
            f"{source}: {name!r} is {what}; a bundle has files and folders alone. Don't use it."
        )


def _refuse_huge_listing(source: Path, size_bytes: int, tail: bytes) -> None:
    """Look at an archive's own count of its entries before they are read into memory."""
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise zipfile.BadZipFile
    count = int.from_bytes(tail[place + 10 : place + 12], "little")
    listing_bytes = int.from_bytes(tail[place + 12 : place + 16], "little")
    if count > 2 * MAX_FILES or listing_bytes > _MAX_LISTING_BYTES or size_bytes > MAX_TOTAL_BYTES:
        raise BundleError(
            f"{source}: says that it holds {count} entries in {size_bytes} bytes; a bundle has at most "
            f"{MAX_FILES} files and {MAX_TOTAL_BYTES} bytes. Don't use it."
        )


def _tail(source: Path) -> bytes:
    with source.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
        return file.read()


def _check(source: Path, listed: Sequence[_Listed]) -> None:
    """Refuse a listing with names that lead elsewhere, twins, unknown kinds of files, or too much of it."""
    seen: dict[str, str] = {}
    total_bytes = 0
    for entry in listed:
        parts = PurePosixPath(entry.path).parts
        is_plain = entry.path == "/".join(parts) and all(_NAME.fullmatch(part) for part in parts)
        if not parts or not is_plain or ".." in parts or len(parts) > MAX_DEPTH + 1:
            raise BundleError(
                f"{source}: {entry.path!r} is no plain path inside a bundle (letters, digits, '.', '_', '-'; "
                f"at most {MAX_DEPTH} deep). Don't use it."
            )
        twin = seen.get(entry.path.casefold())
        if twin is not None:
            raise BundleError(f"{source}: holds both {twin!r} and {entry.path!r}. Don't use it.")
        seen[entry.path.casefold()] = entry.path
        if not entry.is_folder:
            _check_file(source, entry, parts[-1])
            total_bytes += entry.size_bytes
    files = sum(not entry.is_folder for entry in listed)
    if files > MAX_FILES or total_bytes > MAX_TOTAL_BYTES:
        raise BundleError(
            f"{source}: holds {files} files with {total_bytes} bytes; a bundle has at most {MAX_FILES} files "
            f"and {MAX_TOTAL_BYTES} bytes. Don't use it."
        )


def _check_file(source: Path, entry: _Listed, name: str) -> None:
    ending = PurePosixPath(name).suffix.lower()
    if ending in PICKLES:
        raise BundleError(
            f"{source}: {entry.path!r} may run code when it is loaded; weights are taken from safetensors "
            "alone. Ask for the bundle with models/model.safetensors, and without this file."
        )
    if ending not in KNOWN and name not in PLAIN:
        raise BundleError(
            f"{source}: {entry.path!r} is of a kind that no bundle has; known are "
            f"{', '.join(sorted(KNOWN))} and {', '.join(sorted(PLAIN))}. Take it out."
        )
    if entry.size_bytes > MAX_FILE_BYTES:
        raise BundleError(f"{source}: {entry.path!r} has {entry.size_bytes} bytes; expected fewer.")


def _root(source: Path, listed: Sequence[_Listed]) -> str:
    """Find the one folder that the bundle is in; empty where the source is the bundle itself."""
    paths = {entry.path for entry in listed}
    if MANIFEST in paths:
        return ""
    tops = {path.split("/", 1)[0] for path in paths}
    if len(tops) == 1 and f"{(top := tops.pop())}/{MANIFEST}" in paths:
        return top
    raise BundleError(
        f"{source}: has no {MANIFEST}, neither itself nor in the one folder in it. Give one bundle, with the "
        "manifest that dae-pacs train wrote."
    )


def _below(root: str, listed: Sequence[_Listed]) -> tuple[str, ...]:
    names = sorted(entry.path for entry in listed if not entry.is_folder)
    return tuple(name.removeprefix(f"{root}/") for name in names) if root else tuple(names)
