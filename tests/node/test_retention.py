"""What goes when the disk fills, what goes by age, and what stays whatever happens."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dae_pacs.node.auditing import silent
from dae_pacs.node.retention import Keeping, Sweeper
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.outbox import Fate, Told
from dae_pacs.spool.records import NewInstance, Plan

FORWARD = Plan("forward", destinations=("pacs",))
WEEK = 168.0


class Kept:
    """A spool, and objects in it of a size of their own."""

    def __init__(self, root: Path) -> None:
        self.files = SpoolFiles(root)
        self.ledger = Ledger(self.files.ledger_path)

    def keep(self, uid: str, plan: Plan = FORWARD, *, hours_ago: float = 1.0, size: int = 100) -> Path:
        path = self.files.objects / "00" / f"{uid}.dcm"
        path.write_bytes(bytes(size))
        texts = ("PatientID", "AccessionNumber", "StudyDate", "Modality", "SeriesDescription")
        new = NewInstance(
            SOPClassUID="1.2",
            SOPInstanceUID=uid,
            StudyInstanceUID="1.2.3",
            SeriesInstanceUID="1.2.3.4",
            **dict.fromkeys(texts, "x"),
            **dict.fromkeys(("calling_ae", "called_ae", "address", "association"), "x"),
            SeriesNumber=1,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            digest=uid,
            path=path,
            size_bytes=size,
            expected_count=None,
            received_at=time.time() - hours_ago * 3600.0,
        )
        self.ledger.keep(new, plan)
        return path

    def deliver(self, *, fate: Fate = Fate.TAKEN, wants_commitment: bool = False, limit: int = 999) -> None:
        now = time.time()
        taken = self.ledger.outbox.claim("pacs", now=now, limit=limit, breaker_after=5)
        told = [Told(delivery.id, fate, None) for delivery in taken]
        self.ledger.outbox.tell(told, now=now, wants_commitment=wants_commitment)

    def sweeper(
        self, free_mb: Callable[[], float], *, keep_hours: float = WEEK, below: float = 100.0
    ) -> Sweeper:
        return Sweeper(self.ledger, silent(), Keeping(keep_hours, 300.0, below), free_mb=free_mb)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path / "spool")
    yield made
    made.ledger.close()


def _short() -> float:
    return 10.0


def _plenty() -> float:
    return 1e6


def test_with_room_only_age_counts(kept: Kept) -> None:
    old, young = kept.keep("1.1", hours_ago=200), kept.keep("1.2", hours_ago=100)
    kept.deliver()
    kept.sweeper(_plenty).look()
    assert (old.exists(), young.exists()) == (False, True)


def test_without_room_what_was_delivered_goes_before_its_time(kept: Kept) -> None:
    paths = [kept.keep(f"1.{number}") for number in range(5)]
    kept.deliver()
    kept.sweeper(_short).look()
    assert not any(path.exists() for path in paths)


def test_it_ends_as_soon_as_there_is_room_and_the_oldest_go_first(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dae_pacs.node.retention._AT_A_TIME", 1)
    paths = [kept.keep(f"1.{number}", hours_ago=10 - number) for number in range(5)]
    kept.deliver()
    free = lambda: 97.5 + sum(not path.exists() for path in paths)  # noqa: E731
    kept.sweeper(free).look()
    assert [path.exists() for path in paths] == [False, False, False, True, True]


def test_what_is_owed_stays_on_the_fullest_disk(kept: Kept) -> None:
    waiting = kept.keep("1.1", hours_ago=9999)
    kept.sweeper(_short).look()
    assert waiting.exists(), "not sent yet"
    kept.deliver(wants_commitment=True)
    kept.sweeper(_short).look()
    assert waiting.exists(), "not committed yet"
    dead = kept.keep("1.2", hours_ago=9999)
    kept.deliver(fate=Fate.HOPELESS)
    kept.sweeper(_short).look()
    assert dead.exists(), "a person has to look"
    job = kept.keep("1.3", Plan("denoise", rule="r", model="m", destinations=("pacs",)), hours_ago=9999)
    kept.sweeper(_short).look()
    assert job.exists(), "to be denoised"


def test_what_a_rule_keeps_goes_by_age_alone(kept: Kept) -> None:
    young, old = kept.keep("1.1", Plan("keep")), kept.keep("1.2", Plan("keep"), hours_ago=200)
    passed_over = kept.keep("1.3", Plan("pass_over", reason="colour"))
    kept.sweeper(_short).look()
    assert (young.exists(), old.exists(), passed_over.exists()) == (True, False, True)


def test_what_a_person_dropped_goes_by_age_alone(kept: Kept) -> None:
    young, old = kept.keep("1.1"), kept.keep("1.2", hours_ago=200)
    kept.deliver(fate=Fate.HOPELESS)
    assert kept.ledger.outbox.drop("pacs", only_dead=True) == 2
    kept.sweeper(_short).look()
    assert (young.exists(), old.exists()) == (True, False), "nobody else has it"


def test_a_wall_clock_set_ahead_empties_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept.keep("1.1")
    kept.deliver()
    sweeper = kept.sweeper(_plenty)
    ahead = time.time() + 10 * 365 * 86400.0
    monkeypatch.setattr(time, "time", lambda: ahead)
    sweeper.look()
    assert path.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 24 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_is_given_room_and_takes_objects_again(small_disk: Path) -> None:
    kept = Kept(small_disk / "spool")
    try:
        owed = kept.keep("1.0", Plan("forward", destinations=("elsewhere",)), hours_ago=500, size=1_000_000)
        number = 0
        while kept.files.free_mb() > 2:
            number += 1
            kept.keep(f"1.{number}", size=1_000_000)
            kept.deliver()
        assert number > 10
        kept.sweeper(kept.files.free_mb, below=8.0).look()
        assert kept.files.free_mb() >= 8.0
        assert owed.exists()
        assert kept.keep("2.1", size=1_000_000).exists()
    finally:
        kept.ledger.close()
