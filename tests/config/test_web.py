"""The console off this machine needs TLS; a provider needs what makes it useful."""

import pytest

from dae_pacs.config.load import load
from dae_pacs.config.web import is_loopback
from dae_pacs.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def read_text(text):
        path = tmp_path / "dae-pacs.toml"
        path.write_text(text)
        return load(path)

    return read_text


def test_console_is_on_loopback_and_on(read):
    web = read("").web
    assert (web.enabled, web.bind, web.port, web.is_secure) == (True, "127.0.0.1", 8104, False)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.1.2.3", "node.hospital"])
def test_other_machines_need_tls(read, bind):
    with pytest.raises(ConfigError, match=r"web.bind = .*without TLS.*web.certificate"):
        read(f'[web]\nbind = "{bind}"')
    web = read(f'[web]\nbind = "{bind}"\ncertificate = "c.pem"\nkey = "k.pem"').web
    assert web.is_secure
    assert web.certificate.is_absolute()
    read(f'[web]\nenabled = false\nbind = "{bind}"')


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_none(read, bind):
    assert is_loopback(bind)
    read(f'[web]\nbind = "{bind}"')


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[web]\ncertificate = "c.pem"', "without web.key"),
        ('[web]\nkey = "k.pem"', "without web.certificate"),
        ('[web]\nurl = "denoise.hospital"', "no address of a console"),
        ('[web]\nurl = "https://denoise.hospital/path"', "no address of a console"),
        ("[web]\nidle_minutes = 0", "idle_minutes"),
        ('[oidc]\nissuer = "https://login.hospital"', "without oidc.client_id"),
        ('[oidc]\nissuer = "https://login.hospital"', "without oidc.roles"),
        ('[oidc]\nissuer = "https://login.hospital"', "without web.url"),
        ('[oidc]\nissuer = "http://login.hospital"', "reached without TLS"),
        ('[oidc]\nissuer = "login.hospital"', "no issuer"),
        ('[oidc]\nroles = { a = "root" }', "oidc.roles"),
    ],
)
def test_what_does_not_go_together_is_told(read, text, words):
    with pytest.raises(ConfigError, match=words):
        read(text)
