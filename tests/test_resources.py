from pathlib import Path

import pytest

from dae_pacs.errors import BundleError
from dae_pacs.resources import SITE_FOLDER, find_bundle, models_folder, recipes_folder, site_folder


def make_bundle(folder: Path) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "metadata.json").write_text("{}")
    return folder


def test_models_and_recipes_lie_where_the_package_is() -> None:
    assert models_folder().is_dir()
    assert recipes_folder().is_dir()


def test_the_sites_bundle_is_found_by_name(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "ct_chest")

    assert find_bundle("ct_chest", tmp_path) == bundle


def test_a_bundle_is_found_by_its_path(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "My Bundle")

    assert find_bundle(str(bundle)) == bundle


def test_an_unknown_bundle_gets_those_that_exist(tmp_path: Path) -> None:
    make_bundle(tmp_path / "ct_chest")

    with pytest.raises(BundleError, match=f"'ct_head': there is no such bundle.*ct_chest in {tmp_path}"):
        find_bundle("ct_head", tmp_path)


@pytest.mark.parametrize("name", ["..", "CT", "", "a b", "a\\b"])
def test_a_name_that_no_bundle_has_is_refused(name: str) -> None:
    with pytest.raises(BundleError, match="is no name of a bundle"):
        find_bundle(name)


def test_a_folder_without_metadata_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the folder is no bundle"):
        find_bundle(str(tmp_path))


def test_a_path_to_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such folder"):
        find_bundle(f"{tmp_path}/none")


def test_a_trained_bundle_is_found_where_no_folder_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(site_folder() / "clinic_dx")

    assert find_bundle("clinic_dx") == bundle == tmp_path / SITE_FOLDER / "clinic_dx"
    with pytest.raises(BundleError, match=f"clinic_dx in {tmp_path}"):
        find_bundle("clinic_ct")


def test_a_folder_that_happens_to_be_there_stands_in_for_no_shipped_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bundle(site_folder() / "xray_radiograph_denoising")

    assert find_bundle("xray_radiograph_denoising").parent == models_folder()
