import pickle

import pytest
from pydantic import ValidationError

from dae_pacs.config.model import ModelSettings, NodeSettings, Peer, Rule, Settings

PEER = Peer(ae_title="ORTHANC", host="127.0.0.1", port=4242)


def test_an_ae_title_loses_its_padding() -> None:
    assert NodeSettings(ae_title="  SITE ").ae_title == "SITE"


def test_a_single_pattern_is_a_list_of_one() -> None:
    rule = Rule.model_validate(
        {"name": "r", "when": {"Modality": "CT", "SeriesNumber": 3, "KVP": [80, 120.5]}}
    )

    assert rule.when == {"Modality": ("CT",), "SeriesNumber": ("3",), "KVP": ("80", "120.5")}


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda", "cuda:1"])
def test_devices_are_known(device: str) -> None:
    assert ModelSettings(device=device).device == device


def test_settings_made_in_code_are_checked_against_each_other() -> None:
    with pytest.raises(ValidationError, match="is not the name of a peer"):
        Settings(peers={"orthanc": PEER}, rules=(Rule(name="r", destinations=("archive",)),))


def test_settings_travel_to_another_process() -> None:
    settings = Settings(peers={"orthanc": PEER}, rules=(Rule(name="r", destinations=("orthanc",)),))

    assert pickle.loads(pickle.dumps(settings)) == settings


def test_a_port_of_zero_lets_the_system_choose() -> None:
    assert NodeSettings(port=0).port == 0
