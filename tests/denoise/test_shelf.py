"""Bundles on the site's shelf: there whole, or not at all."""

import sys
from pathlib import Path

import pytest

from dae_pacs.denoise import shelf
from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.errors import BundleError

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from intruder import NAME, add, refused, zipped


@pytest.mark.parametrize("inside", [NAME, ""])
def test_a_zip_is_put_on_the_shelf_whole(bundle_folder: Path, site: Path, inside: str) -> None:
    archive = zipped(bundle_folder, inside=inside)
    add(archive, site, name=NAME)
    assert load_bundle(site / NAME).identity == load_bundle(bundle_folder).identity
    assert sorted(path.name for path in site.iterdir()) == [NAME]
    assert not [path for path in (site / NAME).rglob("*") if path.is_file() and path.stat().st_mode & 0o111]


def test_a_folder_is_put_on_the_shelf_whole(bundle_folder: Path, site: Path) -> None:
    add(bundle_folder, site)
    assert load_bundle(site / NAME).identity == load_bundle(bundle_folder).identity


def test_a_name_that_is_taken_is_kept_unless_asked(bundle_folder: Path, site: Path) -> None:
    add(bundle_folder, site)
    (bundle_folder / "docs" / "README.md").write_text("# Newer\n")
    write_manifest(bundle_folder)
    refused(bundle_folder, site, "is there already", "--replace")
    add(bundle_folder, site, replace=True)
    assert (site / NAME / "docs" / "README.md").read_text() == "# Newer\n"
    assert sorted(path.name for path in site.iterdir()) == [NAME]


def test_a_broken_one_replaces_nothing(bundle_folder: Path, site: Path) -> None:
    add(bundle_folder, site)
    (bundle_folder / "LICENSE").write_text("changed")
    refused(bundle_folder, site, "is not what manifest.json says", replace=True)
    assert load_bundle(site / NAME)


@pytest.mark.parametrize("name", ["../evil", "a/b", "/tmp/x", "..", "A", "x" * 300, "a\nb", "a b"])
def test_a_name_with_path_parts_is_refused(bundle_folder: Path, site: Path, name: str, canary: Path) -> None:
    words = "is no name of a bundle" if len(name) < 300 else "can't be written"
    refused(bundle_folder, site, words, name=name)


def test_a_link_on_the_shelf_is_not_followed(bundle_folder: Path, site: Path, canary: Path) -> None:
    site.mkdir()
    (site / NAME).symlink_to(canary.parent)
    refused(bundle_folder, site, "is a link", replace=True)
    with pytest.raises(BundleError, match="is no bundle of this site"):
        shelf.take(site, NAME)


def test_taking_one_off_the_shelf_leaves_the_others(bundle_folder: Path, site: Path) -> None:
    add(bundle_folder, site)
    add(bundle_folder, site, name="another")
    shelf.take(site, NAME)
    assert [path.name for path in site.iterdir()] == ["another"]
    for name in (NAME, "..", "../site/another", "/etc", "."):
        with pytest.raises(BundleError, match="is no bundle of this site"):
            shelf.take(site, name)
    assert load_bundle(site / "another")
