"""Find the data that ships with dae-pacs: model bundles and training recipes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dae_pacs.errors import BundleError

SITE_FOLDER = Path("dae-pacs-models")
"""Where a site's own bundles are, below the working folder, when the configuration names no other place."""

_PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[a-z0-9_]+")
_MARK = Path("configs") / "metadata.json"
"""The file that makes a folder a MONAI bundle (MONAI bundle specification)."""


@dataclass(frozen=True)
class BundlePlace:
    """A bundle where it was found."""

    name: str
    folder: Path
    is_shipped: bool


def models_folder() -> Path:
    """Give the folder of the shipped bundles: inside an installed package, beside it in a checkout."""
    return _data_folder("models")


def recipes_folder() -> Path:
    """Give the folder of the shipped recipes: inside an installed package, beside it in a checkout."""
    return _data_folder("training")


def site_folder(folder: Path | None = None) -> Path:
    """Give the folder that a site's own bundles go to: the configured one, else `dae-pacs-models` here."""
    return (folder or SITE_FOLDER).absolute()


def is_bundle_name(name: str) -> bool:
    """Tell whether a bundle may have that name: lower-case letters, digits and underscores."""
    return _NAME.fullmatch(name) is not None


def find_bundle(name: str, folder: Path | None = None) -> Path:
    """Find the folder of a bundle.

    Args:
        name: a bundle's name, or the path of its folder, with a slash in it.
        folder: the site's own bundles, searched before the shipped ones; None searches `site_folder()`, after
            the shipped ones, so that no folder that happens to be there can stand in for a shipped model.

    Raises:
        BundleError: there is no such bundle; the message names those that exist.
    """
    if "/" in name:
        return _given(Path(name).expanduser())
    folders = [folder, models_folder()] if folder else [models_folder(), site_folder()]
    if not is_bundle_name(name):
        raise BundleError(
            f"Model {name!r}: is no name of a bundle, which has lower-case letters, digits and underscores. "
            f"{_offer(folders)}"
        )
    for place in folders:
        if (place / name / _MARK).is_file():
            return place / name
    raise BundleError(f"Model {name!r}: there is no such bundle. {_offer(folders)}")


def bundle_places(folder: Path | None = None) -> Iterator[BundlePlace]:
    """Find every bundle, in the order in which `find_bundle` looks for a name."""
    site, shipped = (site_folder(folder), False), (models_folder(), True)
    seen: set[str] = set()
    for place, is_shipped in (site, shipped) if folder else (shipped, site):
        for mark in sorted(place.glob(f"*/{_MARK}")):
            name = mark.parent.parent.name
            if name not in seen and is_bundle_name(name):
                seen.add(name)
                yield BundlePlace(name, place / name, is_shipped)


def _given(path: Path) -> Path:
    if not path.is_dir():
        raise BundleError(
            f"Model {path}: there is no such folder. Give the folder of a bundle, or a bundle's name."
        )
    if not (path / _MARK).is_file():
        raise BundleError(
            f"Model {path}: the folder is no bundle, it has no {_MARK}. "
            "Give the folder that holds configs/ and models/."
        )
    return path


def _offer(folders: list[Path]) -> str:
    lines = []
    for folder in folders:
        names = sorted(path.parent.parent.name for path in folder.glob(f"*/{_MARK}"))
        if not names and folder == site_folder():
            continue
        lines.append(f"{', '.join(names) or 'nothing'} in {folder}")
    return f"There is: {'; '.join(lines)}."


def _data_folder(name: str) -> Path:
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
