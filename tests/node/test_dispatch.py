"""What becomes of a job and its worker when the ledger fails in the middle of it."""

import time
from pathlib import Path

import pytest
from pydicom import Dataset

from dae_pacs import failpoints
from dae_pacs.config.model import LogSettings, ModelSettings, Rule
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scp import Incoming
from dae_pacs.errors import SpoolError
from dae_pacs.node.bell import Bell
from dae_pacs.node.dispatch import STALL_S, Dispatcher, DispatchSettings, stall_s
from dae_pacs.node.events import Source
from dae_pacs.node.receive import Receiver
from dae_pacs.node.worker import WorkerSettings
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Job

RULE = Rule(name="ct", when={"Modality": "CT"}, destinations=("pacs",))


class LedgerWithoutRoom(Ledger):
    """A real ledger that refuses to keep the first noise model that it is given, as on a full disk."""

    refusals = 1

    def set_noise(self, job_id: int, noise: str) -> str:
        if self.refusals:
            self.refusals -= 1
            raise SpoolError("no room")
        return super().set_noise(job_id, noise)


def receive(files: SpoolFiles, ledger: Ledger, ds: Dataset, path: Path, *, rule: Rule = RULE) -> None:
    file = files.open_incoming()
    file.write(path.read_bytes())
    uids = {"SOPClassUID": str(ds.SOPClassUID), "SOPInstanceUID": str(ds.SOPInstanceUID)}
    syntax = str(ds.file_meta.TransferSyntaxUID)
    Receiver(files, ledger, (rule,), ModelSettings(), Bell()).keep(
        Incoming("MODALITY", "DAE_PACS", "127.0.0.1", "a1", transfer_syntax_uid=syntax, file=file, **uids)
    )


def receive_all(
    files: SpoolFiles, ledger: Ledger, series: list[Dataset], folder: Path, *, rule: Rule = RULE
) -> None:
    """Receive a series, and wait for its rows."""
    for ds, path in zip(series, write_all(series, folder), strict=True):
        receive(files, ledger, ds, path, rule=rule)
    assert ledger.index.drain(5)


def dispatcher_on(device: str, files: SpoolFiles, ledger: Ledger) -> Dispatcher:
    """Make a dispatcher whose worker has the shipped model on a device."""
    worker = WorkerSettings(device, "xray_radiograph_denoising", None, files.root, LogSettings())
    settings = DispatchSettings(worker, "DAE_PACS", lease_s=20.0, job_attempts=3)
    return Dispatcher(ledger, settings, work=Bell(), results=Bell())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # that is the fault
def test_job_that_could_not_be_recorded_is_done_by_the_next_worker(tmp_path):
    files = SpoolFiles(tmp_path / "spool")
    series = ct_series(Study(), slices=2, size=64)
    with LedgerWithoutRoom(files.ledger_path) as ledger:
        receive_all(files, ledger, series, tmp_path / "study")
        ledger.promote_ready(time.time() + 100, quiet_s=0, idle_s=0)
        dispatcher = dispatcher_on("cpu", files, ledger)
        deadline = time.monotonic() + 150
        try:
            while [job.status.value for job in ledger.jobs()] != ["done"]:
                assert time.monotonic() < deadline, "the job was never done"
                dispatcher.keep_running()
                ledger.release_expired(time.time())
                time.sleep(0.2)
        finally:
            dispatcher.stop(5)
        assert ledger.refusals == 0
        assert len(ledger.deliveries()) == 2


@pytest.mark.slow
def test_an_urgent_series_does_not_wait_for_the_end_of_a_long_one(tmp_path):
    files = SpoolFiles(tmp_path / "spool")
    routine = ct_series(Study(accession="ROUTINE"), slices=96, size=256)
    urgent = ct_series(Study(accession="URGENT"), slices=1, size=64)
    with Ledger(files.ledger_path) as ledger:
        receive_all(files, ledger, routine, tmp_path / "routine")
        ledger.promote_ready(time.time() + 100, quiet_s=0, idle_s=0)
        dispatcher = dispatcher_on("cpu", files, ledger)
        deadline = time.monotonic() + 150
        try:
            dispatcher.keep_running()
            while ledger.counts()["images"].get("derived", 0) == 0:
                assert time.monotonic() < deadline, "the routine series was never begun"
                time.sleep(0.02)
            stat = RULE.model_copy(update={"priority": "STAT"})
            receive_all(files, ledger, urgent, tmp_path / "urgent", rule=stat)
            ledger.promote_ready(time.time() + 100, quiet_s=0, idle_s=0)
            while {job.status.value for job in ledger.jobs()} != {"done"}:
                assert time.monotonic() < deadline, "the jobs were never done"
                time.sleep(0.1)
        finally:
            dispatcher.stop(5)
        first, last = sorted(ledger.jobs(), key=lambda job: job.finished_at)
        assert (first.priority, last.priority) == ("STAT", "MEDIUM")
        assert last.attempts == 0, "a pause is no failed attempt"
        assert ledger.counts()["images"] == {"derived": 97}, "each image was made once"
        assert len(ledger.deliveries(limit=200)) == 97


def test_patience_with_a_silent_worker_grows_with_the_largest_object():
    def source(megabytes: float) -> Source:
        return Source(1, Path("x"), "d", int(megabytes * 1e6))

    assert stall_s([source(0.5)] * 1000) < 150  # a CT series speaks after each slice
    assert stall_s([source(0.5), source(60)]) > 4 * 60  # seconds that its forward passes take at worst
    assert stall_s([source(2000)]) < 1100  # of one with many frames it speaks after every few
    assert stall_s([]) == STALL_S


@pytest.mark.slow
def test_worker_that_hangs_is_ended_and_its_job_done_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("dae_pacs.node.dispatch.STALL_S", 30.0)  # a worker loads torch meanwhile
    monkeypatch.setenv(failpoints.VARIABLE, "decode.opening=delay:3600")
    monkeypatch.setenv(failpoints.ONCE_VARIABLE, str(tmp_path))
    files = SpoolFiles(tmp_path / "spool")
    series = ct_series(Study(), slices=1, size=64)
    with Ledger(files.ledger_path) as ledger:
        receive_all(files, ledger, series, tmp_path / "study")
        ledger.promote_ready(time.time() + 100, quiet_s=0, idle_s=0)
        dispatcher = dispatcher_on("cpu", files, ledger)
        deadline = time.monotonic() + 200
        dispatcher.keep_running()
        try:
            while [job.status.value for job in ledger.jobs()] != ["done"]:
                assert time.monotonic() < deadline, "the job was never done"
                time.sleep(0.1)
        finally:
            dispatcher.stop(0.0)
        assert (tmp_path / "decode.opening").exists(), "the first worker hung"


class LedgerThatNotesOwners(Ledger):
    """A real ledger that remembers which worker took which job."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.owners: list[tuple[str, int]] = []

    def claim_job(self, owner: str, *, lease_s: float, now: float) -> Job | None:
        job = super().claim_job(owner, lease_s=lease_s, now=now)
        if job is not None:
            self.owners.append((owner, job.id))
        return job


@pytest.mark.slow
def test_workers_of_several_devices_share_the_series_between_them(tmp_path):
    files = SpoolFiles(tmp_path / "spool")
    with LedgerThatNotesOwners(files.ledger_path) as ledger:
        for number in range(6):
            series = ct_series(Study(accession=f"A{number}"), slices=4, size=256)
            receive_all(files, ledger, series, tmp_path / f"{number}")
        # Two names of the one device that every machine has.
        dispatchers = [dispatcher_on(device, files, ledger) for device in ("cpu", "auto")]
        deadline = time.monotonic() + 200
        try:
            for dispatcher in dispatchers:
                dispatcher.keep_running()
            while not all(dispatcher.tally.worked().loaded for dispatcher in dispatchers):
                assert time.monotonic() < deadline, "the workers never loaded their model"
                time.sleep(0.1)
            ledger.promote_ready(time.time() + 100, quiet_s=0, idle_s=0)
            while {job.status.value for job in ledger.jobs()} != {"done"}:
                assert time.monotonic() < deadline, "the jobs were never done"
                time.sleep(0.1)
        finally:
            for dispatcher in dispatchers:
                dispatcher.stop(5)
        assert sorted(job for _, job in ledger.owners) == sorted(job.id for job in ledger.jobs())
        assert {owner for owner, _ in ledger.owners} == {"worker cpu", "worker auto"}
        assert ledger.counts()["images"] == {"derived": 24}
