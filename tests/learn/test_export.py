"""What a run leaves is a bundle that the node loads."""

import json
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.errors import BundleError, TrainingError
from dae_pacs.learn.data import Data
from dae_pacs.learn.export import HIDDEN, Facts, export_bundle, publish
from dae_pacs.learn.network import make_network

SMALL = {"channels": [8, 16], "strides": [2], "residual_units": 1, "features": 8}


@pytest.fixture
def facts(tmp_path: Path) -> Facts:
    scores = tmp_path / "scores.jsonl"
    scores.write_text("".join(json.dumps({"step": k, "psnr_db": 30 + k}) + "\n" for k in range(40)))
    item = {"image": "/clinic/DOE^JANE/1.dcm", "frame": 0, "group": "g", "pixels": 9}
    data = Data(training=(item,), validation=(item,), problems=())
    return Facts("clinic_dx_denoising", "1.2.3", "Removes noise.", data, scores, {"steps": 40})


def test_the_node_loads_what_was_trained(tmp_path: Path, facts: Facts) -> None:
    torch.manual_seed(0)
    network = make_network(SMALL)
    bundle = load_bundle(export_bundle(network, tmp_path / facts.name, architecture=SMALL, facts=facts))
    assert (bundle.identity.name, bundle.identity.version) == ("clinic_dx_denoising", "1.2.3")
    assert bundle.identity.default_strength == 0.7
    z = torch.randn(1, 1, 32, 32)
    torch.testing.assert_close(bundle.network()(z), network(z))


def test_every_file_can_be_read_by_the_same_people(tmp_path: Path, facts: Facts) -> None:
    folder = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=facts)
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert len(modes) == 1


def test_the_card_shows_the_course_of_the_run_and_no_file_names(tmp_path: Path, facts: Facts) -> None:
    folder = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=facts)
    card = (folder / "docs" / "README.md").read_text()
    assert "| 0 | 30 |" in card
    assert "| 39 | 69 |" in card
    assert "DOE" not in card
    assert card.count("\n| ") < 20


def test_broken_weights_leave_the_older_bundle_alone(tmp_path: Path, facts: Facts) -> None:
    network = make_network(SMALL)
    folder = export_bundle(network, tmp_path / facts.name, architecture=SMALL, facts=facts)
    before = load_bundle(folder).identity
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        export_bundle(network, folder, architecture=SMALL, facts=facts)
    assert load_bundle(folder).identity == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [facts.name]


def test_a_newer_bundle_replaces_the_older_one_whole(tmp_path: Path, facts: Facts) -> None:
    folder = tmp_path / facts.name
    export_bundle(make_network(SMALL), folder, architecture=SMALL, facts=facts)
    (folder / "left-over.txt").write_text("from before")
    export_bundle(make_network(SMALL), folder, architecture=SMALL, facts=facts)
    assert not (folder / "left-over.txt").exists()


def test_a_place_that_can_not_be_written_is_said_in_words(tmp_path: Path, facts: Facts) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match="can't be written"):
        export_bundle(make_network(SMALL), tmp_path / "file" / "x", architecture=SMALL, facts=facts)


def test_pictures_come_in_only_when_asked_for_and_without_their_names(tmp_path: Path, facts: Facts) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for place in range(5):
        (pictures / f"doe_{place}.png").write_bytes(bytes([place]))
    shown = export_bundle(
        make_network(SMALL), tmp_path / "shown", architecture=SMALL, facts=replace(facts, pictures=pictures)
    )
    plain = export_bundle(make_network(SMALL), tmp_path / "plain", architecture=SMALL, facts=facts)
    names = {path.name for path in (shown / "docs").iterdir()}
    assert names == {"README.md", "course.png", "picture_1.png", "picture_2.png", "picture_3.png"}
    assert (shown / "docs" / "picture_3.png").read_bytes() == bytes([4]), "the last ones"
    assert {path.name for path in (plain / "docs").iterdir()} == {"README.md", "course.png"}
    assert "stay there" in (plain / "docs" / "README.md").read_text()


def test_paths_that_are_to_be_hidden_are_not_in_the_configuration(tmp_path: Path, facts: Facts) -> None:
    (tmp_path / "configuration.yaml").write_text(
        "# --data_dir /doe\ndata_dir: /doe\nsteps: 4\nbundle: null\n"
    )
    hidden = replace(facts, hidden=("data_dir", "bundle"))
    folder = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=hidden)
    text = (folder / "configs" / "train.yaml").read_text()
    assert yaml.safe_load(text) == {"data_dir": HIDDEN, "steps": 4, "bundle": None}
    assert "/doe" not in text


def test_a_bundle_is_published_whole_and_replaces_only_on_demand(tmp_path: Path, facts: Facts) -> None:
    bundle = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=facts)
    site = tmp_path / "site"
    published = publish(bundle, site, replace=False)
    assert load_bundle(published).identity == load_bundle(bundle).identity
    with pytest.raises(TrainingError, match="is there already"):
        publish(bundle, site, replace=False)
    (published / "left-over.txt").write_text("from before")
    assert not (publish(bundle, site, replace=True) / "left-over.txt").exists()
    assert [path.name for path in site.iterdir()] == [facts.name]


def test_a_broken_bundle_is_not_published_and_the_older_one_stays(tmp_path: Path, facts: Facts) -> None:
    bundle = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=facts)
    site = tmp_path / "site"
    before = load_bundle(publish(bundle, site, replace=False)).identity
    (bundle / "configs" / "network.json").write_text("{}")
    with pytest.raises(BundleError, match="is not what"):
        publish(bundle, site, replace=True)
    assert load_bundle(site / facts.name).identity == before
    assert [path.name for path in site.iterdir()] == [facts.name]


def test_without_room_nothing_half_written_is_published(tmp_path: Path, facts: Facts) -> None:
    bundle = export_bundle(make_network(SMALL), tmp_path / facts.name, architecture=SMALL, facts=facts)
    site = tmp_path / "site"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # Python ignores SIGXFSZ: writing fails
    try:
        with pytest.raises(TrainingError, match=f"The bundle itself is whole, in {bundle}"):
            publish(bundle, site, replace=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(site.iterdir()) == []
