"""A study over TLS all the way: DCMTK and Orthanc with certificates, and both refused without."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, Issued

from dae_pacs.config.load import load
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import NODE_ALIAS, NodeAddress, Orthanc, Routing, free_port
from dae_pacs.demo.phantoms import Study, radiograph, write_all
from dae_pacs.dimse.scu import echo
from dae_pacs.errors import PeerError
from dae_pacs.node.peers import address_of, own_address
from dae_pacs.spool.slots import is_blank

pytestmark = pytest.mark.slow

CONFIGURATION = """
[node]
spool = "spool"
quiet_s = 0.5
idle_s = 2.0
minimum_free_mb = 10

[tls]
port = {port}
certificate = "{certificate}"
key = "{key}"
trust = "{trust}"

[peers.pacs]
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
tls = true

[senders.modality]
ae_title = "MODALITY"
addresses = "127.0.0.1"

[[rules]]
name = "images"
when = {{ Modality = "DX" }}
destinations = ["pacs"]
"""


class SecuredNode(NodeProcess):
    """A node that listens with TLS alone; it is up when it answers itself, as its health check asks."""

    def _answers(self) -> bool:
        self.address = own_address(load(self.config_path))
        return super()._answers()


@pytest.fixture
def client(authority: Authority) -> Issued:
    return authority.issue("dcmtk")


@pytest.fixture
def start_node(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., SecuredNode]]:
    running: list[SecuredNode] = []

    def start(port: int, *, pacs_port: int = 9) -> SecuredNode:
        ours = authority.issue("dae-pacs")
        text = CONFIGURATION.format(
            port=port,
            pacs_port=pacs_port,
            certificate=ours.certificate,
            key=ours.key,
            trust=authority.certificate,
        )
        node = SecuredNode(tmp_path / "node", text, ae_title="DAE_PACS", port=port)
        running.append(node)
        node.start()
        return node

    yield start
    for node in running:
        node.stop()


def dcmtk(program: str, port: int, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    if shutil.which(program) is None:
        pytest.skip("Debian's dcmtk is not installed")
    titles = ["-aet", "MODALITY", "-aec", "DAE_PACS"]
    command = [program, "-v", *titles, "127.0.0.1", str(port), *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)


def certified(client: Issued, authority: Authority, *more: str) -> list[str]:
    return ["+tls", str(client.key), str(client.certificate), "+cf", str(authority.certificate), *more]


def received(node: NodeProcess) -> int:
    """Count what was received, once each file that arrived has its final name; its row may come later."""
    spool, deadline = node.folder / "spool", time.monotonic() + 30
    arriving = (spool / "incoming", spool / "ready")
    while any(path.exists() and not is_blank(path) for folder in arriving for path in folder.iterdir()):
        assert time.monotonic() < deadline, "an object stays where it arrived"
        time.sleep(0.05)
    return len(list((spool / "objects").rglob("*.dcm")))


def test_dcmtk_gets_in_with_a_certificate_and_not_without(
    start_node: Any, client: Issued, authority: Authority, stranger_authority: Authority, tmp_path: Path
) -> None:
    node = start_node(free_port())
    port = node.address.port
    (path,) = write_all([radiograph(Study(), "DX", rows=64, columns=64)], tmp_path / "study")
    known = certified(client, authority)

    assert dcmtk("echoscu", port, *known).returncode == 0
    for profile in ("+py", "+px", "+pz"):
        assert dcmtk("echoscu", port, *known, profile).returncode == 0, profile
    stored = dcmtk("storescu", port, *known, str(path))
    assert stored.returncode == 0
    assert received(node) == 1, (stored.stderr + stored.stdout).decode() + node.log_path.read_text()[-3000:]

    assert dcmtk("storescu", port, str(path)).returncode != 0, "plain text"
    assert dcmtk("storescu", port, "+tla", "-ic", str(path)).returncode != 0, "no certificate"
    intruder = stranger_authority.issue("intruder")
    assert dcmtk("storescu", port, *certified(intruder, authority), str(path)).returncode != 0
    expired = authority.issue("expired-dcmtk", days=-1)
    assert dcmtk("storescu", port, *certified(expired, authority), str(path)).returncode != 0
    assert dcmtk("echoscu", port, *certified(client, stranger_authority)).returncode != 0, "it distrusts us"
    assert dcmtk("echoscu", port, *known).returncode == 0
    assert received(node) == 1


@pytest.mark.pacs
def test_study_goes_over_tls_to_orthanc_to_the_node_and_back(
    start_node: Any, start_orthanc: Any, client: Issued, authority: Authority, tmp_path: Path
) -> None:
    port = free_port()
    theirs = authority.issue("orthanc")
    orthanc: Orthanc = start_orthanc(
        node=NodeAddress("DAE_PACS", port),
        routing=Routing.ORIGINALS,
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(theirs.certificate),
        DicomTlsPrivateKey=str(theirs.key),
        DicomTlsTrustedCertificates=str(authority.certificate),
        DicomModalities={
            NODE_ALIAS: {"AET": "DAE_PACS", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}
        },
    )
    node = start_node(port, pacs_port=orthanc.port)
    echoed = orthanc.rest.post(f"/modalities/{NODE_ALIAS}/echo", json.dumps({}).encode())
    assert echoed in ({}, None, b"", b"{}"), echoed

    (path,) = write_all([radiograph(Study(), "DX", rows=256, columns=256)], tmp_path / "study")
    assert dcmtk("storescu", orthanc.port, str(path)).returncode != 0, "Orthanc takes no plain text"
    known = certified(client, authority)
    sent = dcmtk("storescu", orthanc.port, "-aec", "ORTHANC", *known, str(path))
    assert sent.returncode == 0, sent.stderr
    deadline = time.monotonic() + 120
    while len(orthanc.rest.instances()) < 2:
        node.check_running()
        assert time.monotonic() < deadline, node.log_path.read_text()[-3000:]
        time.sleep(0.2)
    assert "MODALITY" not in node.log_path.read_text(), "it came from Orthanc"


@pytest.mark.pacs
def test_orthanc_of_a_strange_authority_is_sent_nothing(
    start_node: Any, start_orthanc: Any, stranger_authority: Authority, authority: Authority
) -> None:
    theirs = stranger_authority.issue("orthanc")
    orthanc: Orthanc = start_orthanc(
        DicomTlsEnabled=True,
        DicomTlsCertificate=str(theirs.certificate),
        DicomTlsPrivateKey=str(theirs.key),
        DicomTlsTrustedCertificates=str(authority.certificate),
    )
    node = start_node(free_port(), pacs_port=orthanc.port)
    settings = load(node.config_path)
    with pytest.raises(PeerError, match="no TLS with it: its certificate is signed by an authority"):
        echo(address_of(settings.peers["pacs"], settings.tls), calling_ae="DAE_PACS")
