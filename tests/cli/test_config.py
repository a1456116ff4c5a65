from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.config.load import sample
from dae_pacs.config.reference import reference

Run = Callable[..., Any]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A right configuration with a bundle of its own."""
    (tmp_path / "bundles" / "mine" / "configs").mkdir(parents=True)
    (tmp_path / "bundles" / "mine" / "configs" / "metadata.json").write_text("{}")
    text = sample().replace('name = "xray_radiograph_denoising"', 'name = "mine"\nfolder = "bundles"')
    path = tmp_path / "dae-pacs.toml"
    path.write_text(text)
    return path


def test_check_says_that_every_setting_is_right(run: Run, site: Path) -> None:
    ran = run("config", "check", "--config", site)

    assert ran.code == 0
    assert f"{site}: every setting is right." in ran.out
    assert "DAE_PACS at 127.0.0.1:11112" in ran.out
    assert "peers: orthanc, rules: 3" in ran.out


def test_check_reads_the_working_folders_file(run: Run, site: Path) -> None:
    assert f"{site.name}: every setting is right." in run("config", "check").out


def test_check_names_every_error(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(
        '[node]\nport = 0.5\n[[rules]]\nname = "ct"\nwhen = { Modalty = "CT" }\naction = "keep"\n'
    )

    ran = run("config", "check", "-c", path)

    assert ran.code == 1
    assert "2 settings are wrong." in ran.err
    assert "node.port = 0.5: is not a whole number; give a whole number from 0 to 65535" in ran.err
    assert (
        'rules[0].when.Modalty (rule "ct") = "CT": is not a DICOM keyword; did you mean Modality?' in ran.err
    )


def test_check_names_a_model_that_is_not_there(run: Run, site: Path) -> None:
    site.write_text(site.read_text().replace('name = "mine"', 'name = "other"'))

    ran = run("config", "check", "--config", site)

    assert ran.code == 1
    assert "model.name: Model 'other': there is no such bundle. There is: mine in" in ran.err


def test_check_warns_of_a_node_without_rules(run: Run, site: Path) -> None:
    site.write_text('[model]\nname = "mine"\nfolder = "bundles"\n')

    assert "There are no rules: whatever comes in is kept and goes nowhere." in run("config", "check").out


def test_show_prints_what_is_in_force(run: Run, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_NODE__PORT", "104")

    ran = run("config", "show")

    assert ran.code == 0
    assert "port = 104" in ran.out
    assert 'when = { Modality = ["CR", "DX", "IO", "PX", "RG"] }' in ran.out


def test_sample_and_reference_are_printed(run: Run) -> None:
    assert run("config", "sample").out == sample()
    assert run("config", "reference").out == reference()
