"""Which files a person means who names files and folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INDEX = "DICOMDIR"
"""The index of a file-set (PS3.10 8.6): no object of its own."""


@dataclass(frozen=True)
class Found:
    """The files, sorted by path, and words for each name that gave none."""

    files: tuple[Path, ...]
    problems: tuple[str, ...]


def files_of(paths: Sequence[Path]) -> Found:
    """Give the files that are named, and those in named folders save hidden ones and DICOMDIRs."""
    files: dict[Path, None] = {}
    problems: list[str] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if entry.is_file() and _is_object(entry, path))
            files.update(dict.fromkeys(inside))
            if not inside:
                problems.append(f"{path}: the folder has no files in it. Name a folder with DICOM files.")
        elif path.exists():
            files[path] = None
        else:
            problems.append(f"{path}: there is no such file or folder. Check the path.")
    return Found(tuple(files), tuple(problems))


def _is_object(file: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not is_hidden and file.name != INDEX
