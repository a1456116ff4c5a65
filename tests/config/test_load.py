from collections.abc import Callable
from pathlib import Path

import pytest

from dae_pacs.config.load import DEFAULT_FILE, load, sample
from dae_pacs.config.model import Settings
from dae_pacs.errors import ConfigError

WriteConfig = Callable[[str], Path]


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(None)

    assert settings.node.ae_title == "DAE_PACS"
    assert settings.node.port == 11112
    assert settings.node.spool == tmp_path / "spool"
    assert settings.rules == ()


def test_the_working_folders_file_is_read_when_none_is_named(tmp_path: Path) -> None:
    (tmp_path / DEFAULT_FILE).write_text("[node]\nport = 104\n")

    assert load(None).node.port == 104


def test_the_sample_is_a_right_configuration(config_file: WriteConfig) -> None:
    settings = load(config_file(sample()))

    assert [rule.name for rule in settings.rules] == ["radiographs", "ct", "everything else"]
    assert settings.peers["orthanc"].port == 4242
    assert settings.rules[-1].action == "keep"


def test_relative_paths_count_from_the_files_folder(config_file: WriteConfig) -> None:
    path = config_file(
        '[node]\nspool = "kept"\n[log]\nfile = "../node.log"\n[model]\nfolder = "bundles"\nname = "./mine"\n'
    )

    settings = load(path)

    assert settings.node.spool == path.parent / "kept"
    assert settings.model.folder == path.parent / "bundles"
    assert Path(settings.model.name) == path.parent / "mine"
    assert settings.log.file is not None
    assert settings.log.file.resolve() == path.parent.parent / "node.log"


def test_the_default_spool_lies_beside_the_file(config_file: WriteConfig) -> None:
    path = config_file("")

    assert load(path).node.spool == path.parent / "spool"


def test_a_models_name_is_no_path(config_file: WriteConfig) -> None:
    assert load(config_file('[model]\nname = "ct_chest"\n')).model.name == "ct_chest"


def test_a_rules_model_path_counts_from_the_files_folder(config_file: WriteConfig) -> None:
    path = config_file(
        '[peers.a]\nae_title="A"\nhost="h"\nport=1\n'
        '[[rules]]\nname="r"\nmodel="./mine"\ndestinations="a"\n[[rules]]\nname="s"\ndestinations=["a"]\n'
    )

    rules = load(path).rules

    assert rules[0].model == str(path.parent / "mine")
    assert rules[0].destinations == ("a",)
    assert rules[1].model is None


def test_paths_of_tls_count_from_the_files_folder(config_file: WriteConfig) -> None:
    path = config_file(
        '[tls]\ncertificate="node.pem"\nkey="keys/node.key"\ntrust="ca.pem"\n'
        '[peers.a]\nae_title="A"\nhost="h"\nport=1\ntls=true\ntls_trust="a.pem"\n'
    )

    settings = load(path)

    assert settings.tls.key == path.parent / "keys" / "node.key"
    assert settings.tls.trust == path.parent / "ca.pem"
    assert settings.peers["a"].tls_trust == path.parent / "a.pem"


def test_one_title_and_one_address_need_no_list(config_file: WriteConfig) -> None:
    sender = load(config_file('[senders.ct1]\nae_title="CT1"\naddresses="10.1.2.3"\n')).senders["ct1"]

    assert (sender.ae_title, sender.addresses) == (("CT1",), ("10.1.2.3",))


def test_home_is_expanded(config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")

    assert load(config_file('[node]\nspool = "~/spool"\n')).node.spool == Path("/home/someone/spool")


def test_the_environment_wins_over_the_file(
    config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_file('[node]\nport = 104\nae_title = "FILE"\n')
    monkeypatch.setenv("DAE_PACS_NODE__PORT", "11113")

    settings = load(path)

    assert settings.node.port == 11113
    assert settings.node.ae_title == "FILE"


def test_a_path_of_the_environment_counts_from_the_working_folder(
    config_file: WriteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAE_PACS_NODE__SPOOL", "elsewhere")

    assert load(config_file('[node]\nspool = "kept"\n')).node.spool == tmp_path / "elsewhere"


def test_the_environment_changes_one_setting_of_a_peer(
    config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_file('[peers.orthanc]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = 4242\n')
    monkeypatch.setenv("DAE_PACS_PEERS__ORTHANC__HOST", "pacs")

    peer = load(path).peers["orthanc"]

    assert (peer.host, peer.port) == ("pacs", 4242)


def test_rules_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_RULES", '[{"name": "all", "action": "keep"}]')

    assert load(None).rules[0].name == "all"


def test_settings_can_not_be_changed() -> None:
    settings = load(None)

    with pytest.raises(ValueError, match="frozen"):
        settings.node.port = 1  # type: ignore[misc]


def test_settings_are_made_in_code_too() -> None:
    assert Settings().node.port == 11112


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[node]\nport = = 3\n", "is not TOML"),
        (b"[node]\nname = '\xff'\n", "is not UTF-8 text"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_refused_with_the_way_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file\. .*config sample"):
        load(tmp_path / "none.toml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path)
