"""The node's doors as the configuration sets them: who is let in, what is told, what is reported."""

import time
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued

from dae_pacs.config.model import NodeSettings, Peer, Settings
from dae_pacs.config.security import Sender, TlsSettings
from dae_pacs.dimse.scu import PeerAddress, echo
from dae_pacs.errors import ConfigError, PeerError
from dae_pacs.node import visitors
from dae_pacs.node.lifecycle import Node
from dae_pacs.node.peers import address_of, own_address

PEERS = {"pacs": Peer(ae_title="PACS", host="127.0.0.1", port=9)}


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """Start nodes that stop with the test: `start(accept="peers", tls=TlsSettings(...))`."""
    running: list[Node] = []

    def start_one(**settings: Any) -> Node:
        node_settings = settings.pop("node", {})
        chosen = Settings(
            node=NodeSettings(spool=tmp_path / "spool", port=0, minimum_free_mb=0, **node_settings),
            **{"peers": PEERS} | settings,
        )
        node = Node(chosen)
        running.append(node)
        node.start()
        return node

    yield start_one
    for node in running:
        node.stop()


def plain(node: Node) -> PeerAddress:
    return PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port, 5.0, 5.0)


def reported(node: Node, true: Any) -> visitors.Report:
    """Wait until the report says what a test waits for."""
    path = node.files.root / visitors.FILE_NAME
    deadline = time.monotonic() + 20
    while True:
        report = visitors.read(path)
        if report is not None and true(report):
            return report
        assert time.monotonic() < deadline, report
        time.sleep(0.05)


def test_only_those_who_are_named_are_let_in_by_default(start: Any) -> None:
    sender = Sender(ae_title="CT*", addresses="127.0.0.1")
    elsewhere = Sender(ae_title="MR1", addresses=["10.9.8.7"])
    node = start(senders={"ct": sender, "mr": elsewhere})
    for known in ("PACS", "CT7", "DAE_PACS"):
        assert echo(plain(node), calling_ae=known) > 0
    for stranger in ("NOBODY", "MR1"):
        with pytest.raises(PeerError, match=r"result 1, source 1, reason 3"):
            echo(plain(node), calling_ae=stranger)
    report = reported(node, lambda report: report.turned_away == 2)
    assert {(row.calling_ae, row.address, row.count) for row in report.refused} == {
        ("NOBODY", "127.0.0.1", 1),
        ("MR1", "127.0.0.1", 1),
    }


def test_peer_that_must_not_call_is_refused(start: Any) -> None:
    node = start(peers={"pacs": Peer(ae_title="PACS", host="127.0.0.1", port=9, addresses=[])})
    with pytest.raises(PeerError, match="reason 3"):
        echo(plain(node), calling_ae="PACS")


def test_open_node_says_so(start: Any, caplog: pytest.LogCaptureFixture) -> None:
    node = start(node={"accept": "anyone", "bind": "0.0.0.0"})
    assert echo(plain(node), calling_ae="NOBODY") > 0
    assert "takes associations from anyone" in caplog.text
    assert reported(node, lambda _report: True).accept == "anyone"


def tls_settings(issued: Issued, authority: Authority, **more: Any) -> TlsSettings:
    files = {"certificate": issued.certificate, "key": issued.key, "trust": authority.certificate}
    return TlsSettings(**{"port": 0} | files | more)


def secured(node: Node, issued: Issued, authority: Authority) -> PeerAddress:
    peer = Peer(ae_title="DAE_PACS", host="127.0.0.1", port=node.scp.tls_port, tls=True)
    return address_of(peer, tls_settings(issued, authority))


def test_tls_takes_the_place_of_the_plain_port(start: Any, authority: Authority) -> None:
    issued = authority.issue("node")
    node = start(tls=tls_settings(issued, authority))
    assert node.scp.port == node.scp.tls_port
    assert echo(secured(node, issued, authority), calling_ae="PACS") > 0
    with pytest.raises(PeerError):
        echo(plain(node), calling_ae="PACS")
    report = reported(node, lambda report: report.turned_away == 1)
    assert "speaks plain text" in report.refused[0].words


def test_tls_and_plain_side_by_side(start: Any, authority: Authority) -> None:
    issued = authority.issue("node")
    node = start(tls=tls_settings(issued, authority, also_plain=True))
    assert node.scp.port != node.scp.tls_port
    assert echo(secured(node, issued, authority), calling_ae="PACS") > 0
    assert echo(plain(node), calling_ae="PACS") > 0


def test_guest_list_holds_over_tls_too(start: Any, authority: Authority) -> None:
    issued = authority.issue("node")
    node = start(tls=tls_settings(issued, authority))
    with pytest.raises(PeerError, match="reason 3"):
        echo(secured(node, issued, authority), calling_ae="NOBODY")


def test_node_reaches_itself_over_tls_whoever_signed_it(
    start: Any, authority: Authority, stranger_authority: Authority
) -> None:
    issued = stranger_authority.issue("self", names=["elsewhere"])
    tls = tls_settings(issued, authority)
    node = start(tls=tls)
    whole = Settings(node=NodeSettings(port=0), tls=tls.model_copy(update={"port": node.scp.tls_port}))
    assert echo(own_address(whole), calling_ae="DAE_PACS") > 0


def test_certificate_that_expires_soon_is_warned_of(
    start: Any, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.issue("soon", days=10)
    node = start(tls=tls_settings(issued, authority))
    assert any("expires on" in record.__dict__.get("what", "") for record in caplog.records)
    report = reported(node, lambda report: report.problems)
    assert "the certificate of this node (CN=soon) expires on" in report.problems[0]
    assert {"CN=soon", "CN=Hospital CA"} <= {shown.subject for shown in report.certificates}


def test_callers_certificate_that_expires_soon_is_warned_of(start: Any, authority: Authority) -> None:
    node = start(tls=tls_settings(authority.issue("node"), authority))
    echo(secured(node, authority.issue("modality", days=3), authority), calling_ae="PACS")
    report = reported(node, lambda report: report.problems)
    assert "caller 127.0.0.1 (CN=modality) expires on" in report.problems[0]


def test_replaced_certificate_is_in_force_and_rubbish_is_not(
    start: Any, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    issued = authority.issue("swapped", file="in-place")
    client = authority.issue("client")
    node = start(tls=tls_settings(issued, authority))
    peer = secured(node, client, authority)
    echo(peer, calling_ae="PACS")
    assert peer.tls is not None
    assert peer.tls.seen is not None
    assert peer.tls.seen.subject == "CN=swapped"

    authority.issue("renewed", file="in-place")
    echo(peer, calling_ae="PACS")
    assert peer.tls.seen.subject == "CN=renewed"

    issued.key.write_text("rubbish")
    echo(peer, calling_ae="PACS")
    assert peer.tls.seen.subject == "CN=renewed", "what was in force stays in force"
    report = reported(node, lambda report: report.problems)
    assert "goes on with the TLS files of before" in report.problems[0]
    assert "those before stay in force" in caplog.text
    assert "rubbish" not in caplog.text

    authority.issue("mended", file="in-place")
    echo(peer, calling_ae="PACS")
    assert peer.tls.seen.subject == "CN=mended"
    reported(node, lambda report: not report.problems)


@pytest.mark.parametrize("mode", [0o604, 0o666, 0o620])
def test_key_that_others_may_touch_stops_the_start(start: Any, authority: Authority, mode: int) -> None:
    issued = authority.issue("open")
    issued.key.chmod(mode)
    with pytest.raises(ConfigError, match="others can read or change it"):
        start(tls=tls_settings(issued, authority))


def test_key_of_another_certificate_stops_the_start(start: Any, authority: Authority) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    with pytest.raises(ConfigError, match="is not the key of the certificate"):
        start(tls=tls_settings(Issued(one.certificate, other.key), authority))


def test_encrypted_key_opens_with_its_password_file(start: Any, authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("locked", password=b"correct horse")
    with pytest.raises(ConfigError, match="is encrypted; put its password into a file"):
        start(tls=tls_settings(issued, authority))
    password = tmp_path / "password"
    password.write_text("wrong\n")
    with pytest.raises(ConfigError, match="its password is another than that of") as caught:
        start(tls=tls_settings(issued, authority, key_password_file=password))
    assert "wrong" not in str(caught.value)
    password.write_text("correct horse\n")
    node = start(tls=tls_settings(issued, authority, key_password_file=password))
    assert echo(secured(node, authority.issue("client"), authority), calling_ae="PACS") > 0


@pytest.mark.parametrize("field", ["certificate", "key", "trust"])
def test_missing_and_broken_files_stop_the_start_in_words(
    start: Any, authority: Authority, tmp_path: Path, field: str
) -> None:
    issued = authority.issue("node")
    absent = tmp_path / "absent.pem"
    with pytest.raises(ConfigError, match=f"{absent}.*can't be read"):
        start(tls=tls_settings(issued, authority, **{field: absent}))
    absent.write_text("no PEM")
    absent.chmod(0o600)
    with pytest.raises(ConfigError, match="PEM"):
        start(tls=tls_settings(issued, authority, **{field: absent}))
