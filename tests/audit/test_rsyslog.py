"""Debian's rsyslog as the receiver: what a hospital is likely to have."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dae_pacs.audit import events
from dae_pacs.audit.events import Us
from dae_pacs.audit.trail import open_trail
from dae_pacs.config.audit import AuditSettings

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from standard import check_event

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
       defaultNetstreamDriverCAFile="{made.authority}"
       defaultNetstreamDriverCertFile="{made.certificate}" defaultNetstreamDriverKeyFile="{made.key}")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="audit" type="string" string="%syslogfacility% %syslogseverity% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/received" template="audit" fileCreateMode="0600")
"""


@dataclass(frozen=True)
class Rsyslog:
    port: int
    received: Path

    def lines(self, count: int) -> list[bytes]:
        deadline = time.monotonic() + 30
        while True:
            found = self.received.read_bytes().splitlines() if self.received.exists() else []
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, found
            time.sleep(0.05)


@pytest.fixture
def rsyslog(tmp_path: Path, certificates) -> Iterator[tuple[Rsyslog, Path]]:
    program = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    if program is None or not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")):
        pytest.skip("Debian's rsyslog and rsyslog-openssl are not installed")
    made = certificates("127.0.0.1")
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    configuration = folder / "rsyslog.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, made=made, port=port))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [program, "-n", "-f", configuration, "-i", folder / "pid"], stdout=output, stderr=output
        )
        try:
            deadline = time.monotonic() + 20
            while not _listens(port):
                assert process.poll() is None, (folder / "output").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield Rsyslog(port, folder / "received"), made.authority
        finally:
            process.terminate()
            process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_rsyslog_takes_every_message_over_tls(rsyslog: tuple[Rsyslog, Path], tmp_path: Path) -> None:
    receiver, authority = rsyslog
    settings = AuditSettings(syslog=f"127.0.0.1:{receiver.port}", syslog_authorities=authority)
    us = Us("DAE_PACS", "node.example.org", 4711)
    trail = open_trail(settings, us, spool=tmp_path)
    assert trail is not None
    sender = events.Remote("GANTRY", "192.0.2.7")
    for number in range(100):
        study = events.StudyOfPatient(f"1.2.3.{number}", "Müller")
        classes = {f"1.2.840.10008.{number}.{place}": place for place in range(100)}  # several kB a message
        trail.record(events.received(us, sender, study, events.Count(classes)))
    trail.close()
    lines = receiver.lines(100)
    for number, line in enumerate(lines):
        head, _, xml = line.partition(b"<?xml")
        assert head.decode("utf-8-sig").startswith("10 5 dae-pacs DICOM+RFC3881 ")
        root = check_event(xml[xml.index(b"<AuditMessage") :])
        study = root.find("ParticipantObjectIdentification")
        assert study is not None
        assert study.attrib["ParticipantObjectID"] == f"1.2.3.{number}"
        assert len(root.findall(".//SOPClass")) == 100
