import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.resources import models_folder

Run = Callable[..., Any]
SHIPPED = "xray_radiograph_denoising"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A shipped model as somebody would send it."""
    made = shutil.make_archive(str(tmp_path / "model"), "zip", models_folder(), SHIPPED)
    return Path(made)


def test_a_model_is_added_listed_shown_used_and_removed(run: Run, archive: Path, tmp_path: Path) -> None:
    added = run("models", "add", archive, "--name", "ours")
    assert added.code == 0, added.err
    assert load_bundle(tmp_path / "dae-pacs-models" / "ours").identity.digest in (
        load_bundle(models_folder() / SHIPPED).identity.digest
    )

    listed = run("models", "list").out
    assert [line.split()[0] for line in listed.splitlines()[1:] if "this site" in line] == ["ours"]
    assert sum("dae-pacs" in line for line in listed.splitlines()) >= 2
    assert listed.count("whole") >= 3

    shown = run("models", "show", "ours").out
    for words in ("SHA-256:", "DenoisingUNet", "models/model.safetensors", "dae-pacs-models/ours"):
        assert words in shown

    (tmp_path / "dae-pacs.toml").write_text('[model]\nname = "ours"\n')
    assert run("config", "check").code == 0
    refused = run("models", "remove", "ours")
    assert refused.code == 1
    assert "model.name uses it" in refused.err
    (tmp_path / "dae-pacs.toml").unlink()

    assert run("models", "remove", "ours").code == 0
    assert "ours" not in run("models", "list").out


def test_the_configured_folder_is_the_shelf(run: Run, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text('[model]\nfolder = "shelf"\n')
    assert run("models", "add", archive).code == 0
    assert load_bundle(tmp_path / "shelf" / SHIPPED)
    assert not (tmp_path / "dae-pacs-models").exists()


def test_a_shipped_model_is_not_removed(run: Run) -> None:
    ran = run("models", "remove", "ct_volume_denoising")
    assert ran.code == 1
    assert "no bundle of this site" in ran.err
    assert load_bundle(models_folder() / "ct_volume_denoising")


def test_a_bad_archive_is_refused_in_words_and_changes_nothing(
    run: Run, archive: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(f"{SHIPPED}/../../evil.json", "{}")
    ran = run("models", "add", archive)
    assert ran.code == 1
    assert "is no plain path inside a bundle" in ran.err
    assert "Traceback" not in ran.err
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]
    assert run("models", "add", tmp_path / "absent.zip").code == 1


def test_a_broken_model_is_listed_as_broken(run: Run, archive: Path, tmp_path: Path) -> None:
    assert run("models", "add", archive, "--name", "ours").code == 0
    metadata = tmp_path / "dae-pacs-models" / "ours" / "configs" / "metadata.json"
    content = json.loads(metadata.read_text())
    metadata.write_text(json.dumps(content | {"version": "[red]\x1b[2J"}))
    listed = run("models", "list").out
    assert "broken: " in listed
    assert "\x1b" not in listed


def test_adding_and_removing_are_in_the_audit_trail(run: Run, archive: Path, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text('[audit]\nfile = "audit.xml"\n')
    assert run("models", "add", archive, "--name", "ours").code == 0
    assert run("models", "remove", "ours").code == 0
    lines = (tmp_path / "audit.xml").read_text().splitlines()
    assert len(lines) == 2
    assert all('originalText="Software Configuration"' in line for line in lines)
    assert (tmp_path / "audit.xml").stat().st_mode & 0o077 == 0


def test_a_model_that_would_never_be_found_is_not_added(run: Run, archive: Path, tmp_path: Path) -> None:
    ran = run("models", "add", archive)
    assert ran.code == 1
    assert "came with dae-pacs, and is found before" in ran.err
    assert not (tmp_path / "dae-pacs-models").exists()
