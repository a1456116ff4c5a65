"""What a run leaves is a bundle that the node loads."""

import json
from pathlib import Path

import pytest
import torch

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import Data
from dae_pacs.learn.export import Facts, export_bundle
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
