"""No credential of a wrong setting is repeated to whoever reads the words about it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dae_pacs.config.load import load
from dae_pacs.config.masking import is_secret, masked
from dae_pacs.dimse.addresses import parse_peer
from dae_pacs.errors import ConfigError

WriteConfig = Callable[[str], Path]
PASSWORD = "hunter2"
WEB_PEER = '[web_peers.cloud]\nurl = "https://pacs.example/dicom-web"\n'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("https://jane:hunter2@pacs.example/dicom-web", "https://***@pacs.example/dicom-web"),
        ("https://hunter2@pacs.example", "https://***@pacs.example"),
        ("https://jane:hunter2/@ x@pacs.example", "https://***@pacs.example"),
        ("jane:hunter2@pacs.example:514", "***@pacs.example:514"),
        ("https://pacs.example:8443/dicom-web", "https://pacs.example:8443/dicom-web"),
        ("ORTHANC@127.0.0.1:4242", "ORTHANC@127.0.0.1:4242"),
        (Path("/etc/dae-pacs/web.key"), "/etc/dae-pacs/web.key"),
        (("a", "ldap://x:hunter2@h"), ["a", "ldap://***@h"]),
        ([{"url": "http://h", "client_secret": "hunter2"}], [{"url": "http://h", "client_secret": "***"}]),
        (4242, 4242),
    ],
)
def test_a_value_is_shown_without_its_credentials(value: object, shown: object) -> None:
    assert masked(value) == shown


def test_names_say_that_they_hold_a_secret() -> None:
    secret = ("password", "key_password_file", "token", "TOKEN_ENV", "client_secret", "api_key", "pwd")
    assert all(map(is_secret, secret))
    assert not any(map(is_secret, ("url", "key", "user", "host", 3)))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[web_peers.cloud]\nurl = "https://jane:hunter2@pacs.example"', "web_peers.cloud.url"),
        ('[oidc]\nissuer = "https://jane:hunter2@login.example"', "oidc.issuer"),
        ('[web]\nurl = "https://jane:hunter2@console.example"', "web.url"),
        (WEB_PEER + 'password = "hunter2"', "web_peers.cloud.password"),
        (WEB_PEER + 'user = "jane"\npassword_env = "hunter2!"', "web_peers.cloud.password_env"),
        (WEB_PEER + 'password_file = "hunter2"', "web_peers.cloud.password_file"),
        (WEB_PEER + 'token = "hunter2"', "web_peers.cloud.token"),
        ('[oidc]\nclient_secret = "hunter2"', "oidc.client_secret"),
        ('[metrics]\ntoken_file = ["hunter2"]', "metrics.token_file"),
        ('[secrets]\npacs = "hunter2"', "secrets"),
        ('secrets = ["hunter2"]', "secrets"),
        ('rules = [{name = "a", password = "hunter2", action = "keep"}, 5]', "rules[0].password"),
        ('rules = "https://jane:hunter2@h"', "rules"),
        ('[audit]\nsyslog = "jane:hunter2@log.example"', "audit.syslog"),
        ('[node]\nzzz = [{url = "tcp://jane:hunter2@h", pwd = "hunter2"}]', "node.zzz"),
    ],
)
def test_words_about_a_wrong_setting_repeat_no_credential(
    config_file: WriteConfig, text: str, key: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(config_file(text))
    assert key in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_words_about_a_variable_repeat_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_OIDC__CLIENT_SECRET", PASSWORD)
    with pytest.raises(ConfigError) as caught:
        load(None)
    assert "client_secret" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_words_about_a_peer_on_the_command_line_repeat_no_credential() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_peer("https://jane:hunter2@pacs.example/dicom-web")
    assert "pacs.example" in str(caught.value)
    assert PASSWORD not in str(caught.value)
