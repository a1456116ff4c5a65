import logging
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

from dae_pacs.audit import events
from dae_pacs.audit.backlog import Backlog
from dae_pacs.audit.entry import Entry
from dae_pacs.audit.events import Us
from dae_pacs.audit.outlet import Outlet
from dae_pacs.audit.trail import Trail, open_trail, waiting
from dae_pacs.config.audit import AuditSettings
from dae_pacs.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from standard import check_event

US = Us("DAE_PACS", "node.example.org", 4711)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def opened(tmp_path: Path, **settings: object) -> Trail:
    trail = open_trail(AuditSettings(**settings), US, spool=tmp_path / "spool")
    assert trail is not None
    return trail


def alert(number: int) -> events.Message:
    return events.refused(US, events.Remote(f"STRANGER{number}", "192.0.2.7"), "not known")


def strangers(lines: list[bytes]) -> list[str]:
    roots = [check_event(line[line.index(b"<AuditMessage") :]) for line in lines]
    return [root.findall("ActiveParticipant")[-1].attrib["UserID"] for root in roots]


def test_without_a_target_there_is_no_trail(tmp_path: Path) -> None:
    assert open_trail(AuditSettings(), US, spool=tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_messages_go_to_file_and_syslog_in_order(tmp_path: Path, certificates, receivers) -> None:
    made = certificates("127.0.0.1")
    receiver = receivers(made)
    trail = opened(
        tmp_path,
        file=tmp_path / "audit.xml",
        syslog=f"127.0.0.1:{receiver.port}",
        syslog_authorities=made.authority,
    )
    for number in range(50):
        trail.record(alert(number))
    trail.close()
    expected = [f"STRANGER{number}" for number in range(50)]
    assert strangers((tmp_path / "audit.xml").read_bytes().splitlines()) == expected
    assert strangers(receiver.wait_for(50)) == expected
    assert waiting(tmp_path / "spool") == {}


def test_a_dead_receiver_is_told_once_and_gets_everything_later(tmp_path: Path, receivers, caplog) -> None:
    port = free_port()
    settings = {"syslog": f"127.0.0.1:{port}", "syslog_transport": "tcp", "file": tmp_path / "audit.xml"}
    trail = opened(tmp_path, **settings)
    for number in range(20):
        before = time.monotonic()
        trail.record(alert(number))
        assert time.monotonic() - before < 1  # whoever records waits for nobody
    trail.close()
    assert waiting(tmp_path / "spool") == {"syslog": 20}
    assert len((tmp_path / "audit.xml").read_bytes().splitlines()) == 20  # the other target is not held up
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.message for record in told] == ["audit trail can't be written; messages wait on the disk"]
    assert "STRANGER" not in caplog.text
    folder = tmp_path / "spool" / "audit" / "syslog"
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}

    receiver = receivers(port=port)
    again = opened(tmp_path, **settings)
    again.record(alert(20))
    assert strangers(receiver.wait_for(21)) == [f"STRANGER{number}" for number in range(21)]
    again.close()
    assert waiting(tmp_path / "spool") == {}


def test_a_receiver_that_comes_back_is_found_without_a_restart(tmp_path: Path, receivers, caplog) -> None:
    port = free_port()
    trail = opened(tmp_path, syslog=f"127.0.0.1:{port}", syslog_transport="tcp")
    trail.record(alert(0))
    deadline = time.monotonic() + 10
    while waiting(tmp_path / "spool") != {"syslog": 1}:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    receiver = receivers(port=port)
    assert strangers(receiver.wait_for(1)) == ["STRANGER0"]
    trail.close()


def test_a_full_queue_is_bounded_alarmed_and_told_of_afterwards(tmp_path: Path, receivers, caplog) -> None:
    port = free_port()
    settings = {"syslog": f"127.0.0.1:{port}", "syslog_transport": "tcp", "queue_messages": 5}
    trail = opened(tmp_path, **settings)
    for number in range(12):
        trail.record(alert(number))
    deadline = time.monotonic() + 10
    while "messages are being lost" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert waiting(tmp_path / "spool") == {"syslog": 5}
    receiver = receivers(port=port)
    *kept, lost = receiver.wait_for(6)
    assert strangers(kept) == [f"STRANGER{number}" for number in range(5)]
    root = check_event(lost[lost.index(b"<AuditMessage") :])
    assert root.findtext("EventIdentification/EventOutcomeDescription", "").startswith("7 audit messages")
    trail.close()


def test_a_file_that_can_t_be_written_is_alarmed_and_written_later(tmp_path: Path, caplog) -> None:
    blocked = tmp_path / "audit"
    blocked.write_text("a file where a folder should be")
    trail = opened(tmp_path, file=blocked / "audit.xml")
    trail.record(alert(0))
    trail.close()
    assert waiting(tmp_path / "spool") == {"file": 1}
    assert "audit trail can't be written" in caplog.text
    blocked.unlink()
    trail = opened(tmp_path, file=blocked / "audit.xml")
    trail.record(alert(1))
    trail.close()
    lines = (blocked / "audit.xml").read_bytes().splitlines()
    assert strangers(lines) == ["STRANGER0", "STRANGER1"]


def test_neither_target_nor_queue_leaves_messages_in_memory_and_goes_on(tmp_path: Path, caplog) -> None:
    (tmp_path / "spool").write_text("no folder")
    blocked = tmp_path / "audit"
    blocked.write_text("no folder")
    trail = opened(tmp_path, file=blocked / "audit.xml")
    trail.record(alert(0))
    deadline = time.monotonic() + 10
    while "can't be written" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    blocked.unlink()
    deadline = time.monotonic() + 20
    while not (blocked / "audit.xml").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    trail.close()
    assert strangers((blocked / "audit.xml").read_bytes().splitlines()) == ["STRANGER0"]


def test_certificates_that_can_t_be_used_are_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("no certificate")
    for name in ("none.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=name):
            opened(tmp_path, syslog="127.0.0.1:6514", syslog_authorities=tmp_path / name)


class Fragile:
    """A target that breaks as no target should, once."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.is_broken = True

    def deliver(self, entries) -> None:
        if self.is_broken:
            self.is_broken = False
            raise ZeroDivisionError
        self.taken += [entry.xml for entry in entries]

    def close(self) -> None:
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_is_replaced_and_what_it_lost_is_told(tmp_path: Path, entry, caplog) -> None:
    target = Fragile()
    backlog = Backlog(tmp_path / "queue", most=5)
    outlet = Outlet("file", target, backlog, words_for_lost=lambda count: Entry(0, b"lost %d" % count))
    outlet.put(entry(1))
    deadline = time.monotonic() + 10
    while target.is_broken:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    outlet._thread.join(10)
    outlet.put(entry(2))
    outlet.close(timeout_s=10)
    assert target.taken == [entry(2).xml, b"lost 1"]
    assert "audit thread died, starting another" in caplog.text


def test_a_receiver_whose_name_is_none_is_a_target_that_is_away(tmp_path: Path, caplog) -> None:
    trail = opened(tmp_path, syslog="a..b:6514", syslog_transport="tcp")
    trail.record(alert(0))
    trail.close()
    assert waiting(tmp_path / "spool") == {"syslog": 1}
    assert "audit trail can't be written" in caplog.text
