import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import NewInstance, Plan

Run = Callable[..., Any]
PEER = '[peers.pacs]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    (tmp_path / "spool").mkdir()
    with Ledger(tmp_path / "spool" / LEDGER_NAME) as opened:
        yield opened


def owe(ledger: Ledger, spool: Path, destination: str, count: int) -> None:
    for number in range(count):
        path = spool / f"{destination}.{number}.dcm"
        path.write_bytes(b"object")
        texts = ("PatientID", "AccessionNumber", "StudyDate", "Modality", "SeriesDescription")
        new = NewInstance(
            SOPClassUID="1.2",
            SOPInstanceUID=f"1.2.{len(destination)}.{number}",
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
            **dict.fromkeys(texts, "x"),
            **dict.fromkeys(("calling_ae", "called_ae", "address", "association"), "x"),
            SeriesNumber=1,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            digest=f"{destination}{number}",
            path=path,
            size_bytes=6,
            expected_count=None,
            received_at=time.time(),
        )
        ledger.keep(new, Plan("forward", destinations=(destination,)))


def statuses(ledger: Ledger) -> list[str]:
    return sorted(delivery.status for delivery in ledger.deliveries())


def test_what_is_owed_to_a_peer_that_left_is_dropped_only_when_asked_twice(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    owe(ledger, tmp_path / "spool", "gone", 3)

    asked = run("drop", "gone")
    assert asked.code == 1
    assert "would drop 3 deliveries" in asked.out
    assert statuses(ledger) == ["waiting"] * 3

    done = run("drop", "gone", "--yes")
    assert done.code == 0
    assert statuses(ledger) == ["dropped"] * 3
    assert len(ledger.removable(time.time() + 1)) == 3, "owed to nobody"


def test_of_a_peer_that_is_there_only_what_was_given_up_is_dropped(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    (tmp_path / "dae-pacs.toml").write_text(PEER)
    owe(ledger, tmp_path / "spool", "pacs", 2)
    dead, _other = ledger.outbox.claim("pacs", now=time.time(), limit=9, breaker_after=5)
    told = [Told(dead.id, Fate.HOPELESS, "no"), Told(_other.id, Fate.UNTRIED, "not sent")]
    ledger.outbox.tell(told, now=time.time())

    assert "dropped 1 deliveries that were given up" in run("drop", "pacs", "--yes").out
    assert statuses(ledger) == ["dropped", "waiting"]
    assert "nothing to drop" in run("drop", "pacs").out


def test_a_destination_that_never_was_is_refused_with_a_hint(
    run: Run, ledger: Ledger, tmp_path: Path
) -> None:
    owe(ledger, tmp_path / "spool", "archive", 1)

    ran = run("drop", "archiv")

    assert ran.code == 1
    assert "Did you mean archive?" in ran.err


def test_what_was_dropped_is_in_the_audit_trail(run: Run, ledger: Ledger, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text('[audit]\nfile = "audit.xml"\n')
    owe(ledger, tmp_path / "spool", "gone", 2)

    assert run("drop", "gone").code == 1
    assert not (tmp_path / "audit.xml").exists()
    assert run("drop", "gone", "--yes").code == 0

    (message,) = (tmp_path / "audit.xml").read_text().splitlines()
    assert 'originalText="Use of Restricted Function"' in message
