"""`dae-pacs tls check`, and `echo` and `send` over TLS, with an archive that asks for certificates."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued
from pydicom.data import get_testdata_file

from dae_pacs.dimse.entrance import Entrance, TlsDoor
from dae_pacs.dimse.scp import Answer, Incoming, ScpSettings, StorageSCP
from dae_pacs.dimse.tls import Identity, Reloading, server_context


class Arrived(BytesIO):
    def discard(self) -> None:
        self.close()


@pytest.fixture
def tls_archive(authority: Authority) -> Iterator[tuple[StorageSCP, list[Incoming]]]:
    """Run a storage SCP that takes TLS alone, and callers with a certificate."""
    issued = authority.issue("archive", names=["archive.hospital"])
    arrived: list[Incoming] = []

    def keep(incoming: Incoming) -> Answer:
        arrived.append(incoming)
        return Answer(0)

    identity, trust = Identity(issued.certificate, issued.key), authority.certificate
    context = Reloading(identity.files, lambda: server_context(identity, trust=trust))
    scp = StorageSCP(
        ScpSettings(ae_title="ARCHIVE", port=0),
        open_file=Arrived,
        keep=keep,
        association_ended=lambda _: None,
        entrance=Entrance(tls=TlsDoor(0, context.get), is_plain=False),
    )
    scp.start()
    yield scp, arrived
    scp.stop()


Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, authority: Authority, tls_archive: Any) -> Write:
    """Write dae-pacs.toml with our certificate and the archive: `write('tls_name = "archive.hospital"')`."""

    def write_it(peer: str, *, issued: Issued | None = None) -> None:
        ours = issued or authority.issue("ours")
        (tmp_path / "dae-pacs.toml").write_text(
            f'[tls]\ncertificate = "{ours.certificate}"\nkey = "{ours.key}"\n'
            f'trust = "{authority.certificate}"\n[peers.archive]\nae_title = "ARCHIVE"\n'
            f'host = "127.0.0.1"\nport = {tls_archive[0].port}\n{peer}\n'
        )

    return write_it


def test_echo_and_send_speak_tls_to_a_peer_that_is_configured_so(
    run: Any, write: Write, tls_archive: Any
) -> None:
    write('tls = true\ntls_name = "archive.hospital"')
    assert run("echo", "archive").code == 0
    sent = run("send", "archive", str(get_testdata_file("CT_small.dcm")))
    assert sent.code == 0, sent.err
    assert len(tls_archive[1]) == 1


def test_peer_of_another_name_is_refused_in_words_and_gets_nothing(
    run: Any, write: Write, tls_archive: Any
) -> None:
    write("tls = true")
    ran = run("send", "archive", str(get_testdata_file("CT_small.dcm")))
    assert ran.code == 1
    assert "bears another" in ran.err
    assert "set tls_name to what it bears" in ran.err
    assert "Traceback" not in ran.err
    assert tls_archive[1] == []


def test_plain_text_to_a_peer_with_tls_is_refused_in_words(run: Any, write: Write) -> None:
    write("tls = false")
    ran = run("echo", "archive")
    assert ran.code == 1
    assert "without TLS" in ran.err


def test_check_shows_what_a_peer_shows_before_it_is_trusted(run: Any, write: Write) -> None:
    write("tls = false")
    ran = run("tls", "check", "archive")
    assert ran.code == 0, ran.err
    assert "subject: CN=archive" in ran.out
    assert "names: archive.hospital" in ran.out
    assert "signed by: CN=Hospital CA" in ran.out
    assert "Ask its administrator" in ran.out


def test_check_says_whether_a_peer_is_believed(run: Any, write: Write) -> None:
    write('tls = true\ntls_name = "archive.hospital"')
    assert "It is believed, as configured." in run("tls", "check", "archive").out
    write("tls = true")
    assert run("tls", "check", "archive").code == 1


def test_fingerprint_of_the_check_is_one_for_the_configuration(run: Any, write: Write) -> None:
    write("tls = false")
    line = next(line for line in run("tls", "check", "archive").out.splitlines() if "fingerprint" in line)
    write(f'tls = true\ntls_fingerprint = "{line.split(": ")[1]}"')
    assert run("echo", "archive").code == 0


def test_check_shows_our_own_files(run: Any, write: Write) -> None:
    write("")
    ran = run("tls", "check")
    assert ran.code == 0
    assert "subject: CN=ours" in ran.out
    assert "subject: CN=Hospital CA" in ran.out


@pytest.mark.parametrize(("days", "words"), [(-1, "has expired"), (5, "expires in 5 days")])
def test_check_complains_of_what_must_be_renewed(
    run: Any, write: Write, authority: Authority, days: int, words: str
) -> None:
    write("", issued=authority.issue("old", days=days))
    ran = run("tls", "check")
    assert ran.code == 1
    assert words in ran.err


def test_check_without_tls_says_so(run: Any) -> None:
    ran = run("tls", "check")
    assert ran.code == 0
    assert "No TLS" in ran.out


def test_show_of_the_configuration_holds_no_secret(run: Any, tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("locked", password=b"correct horse")
    (tmp_path / "password").write_text("correct horse\n")
    (tmp_path / "dae-pacs.toml").write_text(
        f'[tls]\nport = 2762\ncertificate = "{issued.certificate}"\nkey = "{issued.key}"\n'
        f'key_password_file = "password"\ntrust = "{authority.certificate}"\n'
    )
    shown = run("config", "show").out
    assert f'key_password_file = "{tmp_path / "password"}"' in shown
    assert "correct horse" not in shown + run("config", "check").out + run("tls", "check").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tls]\nport = 2762", "tls.port = 2762: comes without a certificate"),
        ('[tls]\ncertificate = "a.pem"', "comes without tls.key"),
        ("[tls]\nalso_plain = true", "goes with tls.port, which is not given"),
        ('[peers.a]\nae_title="A"\nhost="h"\nport=1\ntls=true', "leaves open by what the peer is verified"),
        (
            '[peers.a]\nae_title="A"\nhost="h"\nport=1\ntls_name="x"',
            "goes with tls = true, which is not given",
        ),
        ('[senders.a]\nae_title="A"\naddresses="10.1.2.300"', "is neither an address, nor a network"),
        ('[senders.a]\nae_title="A"\naddresses=["10.1.2.3/24"]', "write the network itself: 10.1.2.0/24"),
        ('[senders.a]\nae_title="A"\naddresses=[]', "senders.a.addresses"),
        ('[node]\naccept = "everyone"', 'node.accept = "everyone": is not known here'),
        (
            '[tls]\nkey_password = "horse"',
            "tls.key_password: is not a setting; did you mean key_password_file?",
        ),
    ],
)
def test_wrong_settings_are_said_in_words(run: Any, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "dae-pacs.toml").write_text(text)
    ran = run("config", "check")
    assert ran.code == 1
    assert words in ran.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[node]\naccept = "anyone"', "from this machine, under any AE title"),
        ('[node]\naccept = "anyone"\nbind = "0.0.0.0"', "every machine that reaches its port"),
        ("", "nobody but this machine itself may send"),
    ],
)
def test_check_of_the_configuration_warns_of_what_stands_open_or_shut(
    run: Any, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "dae-pacs.toml").write_text(text)
    ran = run("config", "check")
    assert ran.code == 0
    assert words in ran.out
