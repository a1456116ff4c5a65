"""DICOMweb services in the configuration: what is taken, and the words for what is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dae_pacs.config.load import load
from dae_pacs.errors import ConfigError

WriteConfig = Callable[[str], Path]
RULE = '[[rules]]\nname = "r"\ndestinations = ["web"]\n'


def test_rule_names_a_service_as_it_names_a_peer(config_file: WriteConfig) -> None:
    settings = load(config_file(f'{RULE}[web_peers.web]\nurl = "https://pacs/dicom-web/"\n'))
    assert settings.destinations == ("web",)
    assert settings.web_peers["web"].url == "https://pacs/dicom-web"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('url = "pacs"', "is no URL of a DICOMweb service; give the service's root"),
        ('url = "ftp://pacs/"', "is no URL of a DICOMweb service"),
        ('url = "https://pacs:99999/"', "is no URL"),
        ('url = "https://me:secret@pacs/"', "carries a user name; give user and password_file"),
        ('url = "https://pacs/?x=1"', "has a query"),
        ('url = "https://pacs"\nuser = "me"', 'web_peers.web.user = "me": comes without a password'),
        ('url = "https://pacs"\npassword_env = "P"', "comes without user"),
        ('url = "https://pacs"\ntoken_env = "T"\ntoken_file = "t"', "goes with token_file; give one of them"),
        ('url = "https://pacs"\ntoken_env = "no name"', "is no name of an environment variable"),
        ('url = "http://pacs"\ntoken_env = "T"', "would let everyone on the network read"),
        ('url = "http://pacs"\ntls_name = "any"', "goes with https://"),
        (f'url = "https://pacs"\ntls_name = "any"\ntls_fingerprint = "{"0" * 64}"', "goes alone"),
    ],
)
def test_wrong_service_gets_its_words(config_file: WriteConfig, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(config_file(f"[web_peers.web]\n{text}\n"))
    assert words in str(error.value)
    assert "secret" not in str(error.value).replace("me:secret", "")


def test_service_and_peer_share_no_name(config_file: WriteConfig) -> None:
    peer = '[peers.web]\nae_title = "A"\nhost = "h"\nport = 1\n'
    with pytest.raises(ConfigError, match="is also the name of a peer"):
        load(config_file(f'{peer}[web_peers.web]\nurl = "https://pacs"\n'))


def test_password_on_this_machine_may_go_without_tls(config_file: WriteConfig) -> None:
    load(config_file('[web_peers.web]\nurl = "http://127.0.0.1:8042/dicom-web"\ntoken_env = "T"\n'))
