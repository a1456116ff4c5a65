"""The ledger's file: damaged, lost, foreign, full, killed, shared."""

import multiprocessing
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dae_pacs.errors import SpoolError, SpoolFullError
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Plan

FORWARD = Plan(action="forward", destinations=("PACS",))

WRITER = """
import sys
sys.path.insert(0, {folder!r})
from pathlib import Path
from conftest import DENOISE, Spool
spool = Spool(Path({root!r}))
for number in range(100_000):
    spool.keep(f"{prefix}.{{number}}", DENOISE, SeriesInstanceUID=f"{prefix}.{{number // 10}}")
    print(f"{prefix}.{{number}}", flush=True)  # the acknowledgement
"""


def start_writer(root, prefix):
    code = WRITER.format(folder=str(Path(__file__).parent), root=str(root), prefix=prefix)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_kill_9_in_mid_load_loses_nothing_that_was_acknowledged(new_spool, tmp_path):
    root = tmp_path / "spool"
    SpoolFiles(root)
    acknowledged = set()
    for life in range(3):
        writer = start_writer(root, f"1.{life}")
        for _ in range(15 + 7 * life):
            acknowledged.add(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {line.strip() for line in writer.stdout if line.endswith("\n")}
        writer.stdout.close()
        writer.wait(20)
    assert len(acknowledged) >= 66
    spool = new_spool("spool")
    spool.ledger.recover(1000.0)
    result = spool.ledger.reconcile(spool.files)
    assert not result.missing
    kept = {i.SOPInstanceUID: i for i in spool.ledger.study_story("1.2").instances}
    assert acknowledged <= set(kept)
    assert all(kept[uid].path.stat().st_size == kept[uid].size_bytes for uid in acknowledged)
    assert sum(job.image_count for job in spool.ledger.jobs(limit=-1)) == len(kept)
    assert len(result.orphans) <= 3, "at most the one in hand at each kill"


def test_two_processes_write_at_once_and_neither_loses_anything(new_spool, tmp_path):
    spool = new_spool("spool")
    writers = [start_writer(spool.root, prefix) for prefix in ("1.8", "1.9")]
    acknowledged = set()
    for _ in range(25):
        for writer in writers:
            acknowledged.add(writer.stdout.readline().strip())
        spool.keep(f"1.7.{len(acknowledged)}")
        spool.ledger.counts()
    for writer in writers:
        writer.kill()
        writer.stdout.close()
        writer.wait(20)
    kept = {i.SOPInstanceUID for i in spool.ledger.study_story("1.2").instances}
    assert len(acknowledged) == 50
    assert acknowledged <= kept


def _open_and_close(path, answers):
    with Ledger(path) as ledger:
        answers.put(ledger.counts()["jobs"])


def test_several_processes_may_make_a_ledger_at_once(tmp_path):
    context = multiprocessing.get_context("fork")
    for life in range(5):
        path = SpoolFiles(tmp_path / f"{life}").ledger_path
        answers = context.SimpleQueue()
        processes = [context.Process(target=_open_and_close, args=(path, answers)) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4


def test_threads_share_one_ledger(spool):
    objects = [[spool.received(f"1.{thread}.{n}") for n in range(10)] for thread in range(4)]
    threads = [
        threading.Thread(target=lambda mine: [spool.ledger.keep(new, FORWARD) for new in mine], args=(mine,))
        for mine in objects
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert spool.ledger.counts()["instances"] == {"received kept": 40}
    due = {delivery.id for delivery in spool.due(now=1e9)}
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(spool.take(now=1e9))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(delivery.id for answer in answers for delivery in answer) == sorted(due)


def test_everything_is_there_after_reopening(spool):
    spool.keep("1.1")
    job_id = spool.denoise()
    before = spool.ledger.study_story("1.2")
    spool.reopen()
    assert spool.ledger.study_story("1.2") == before
    assert spool.ledger.job(job_id).status == "done"


@pytest.mark.parametrize("name", ["received", "made"])
def test_a_deleted_ledger_over_objects_is_refused_and_never_started_empty(spool, name):
    getattr(spool, name)("1.1")
    spool.ledger.close()
    path = spool.files.ledger_path
    path.unlink()
    for _ in range(2):
        with pytest.raises(SpoolError, match=r"missing or empty, but .* holds objects.*never started empty"):
            Ledger(path)
    assert not path.exists()


def test_an_emptied_ledger_over_objects_is_refused(spool):
    spool.keep()
    spool.ledger.close()
    spool.files.ledger_path.write_bytes(b"")
    with pytest.raises(SpoolError, match="missing or empty"):
        Ledger(spool.files.ledger_path)
    assert spool.files.ledger_path.stat().st_size == 0


def test_a_ledger_replaced_by_a_blank_database_over_objects_is_refused(spool):
    spool.keep()
    spool.ledger.close()
    spool.files.ledger_path.unlink()
    connection = sqlite3.connect(spool.files.ledger_path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("DROP TABLE t")
    connection.close()
    with pytest.raises(SpoolError, match="missing or empty"):
        Ledger(spool.files.ledger_path)


def test_a_journal_without_its_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite-wal").write_bytes(b"x" * 100)
    with pytest.raises(SpoolError, match=r"its journal ledger\.sqlite-wal is there"):
        Ledger(tmp_path / "ledger.sqlite")


@pytest.mark.parametrize(("start", "size"), [(0, 10), (20, 3000), (100, 3000), (4096, 3000), (9000, 200_000)])
def test_a_damaged_ledger_is_refused_in_words(spool, start, size):
    for number in range(30):
        spool.keep(f"1.{number}")
    spool.ledger.close()
    path = spool.files.ledger_path
    content = bytearray(path.read_bytes())
    end = min(start + size, len(content))
    content[start:end] = os.urandom(end - start)
    path.write_bytes(content)
    with pytest.raises(SpoolError, match=re.escape(str(path))) as caught:
        Ledger(path)
    assert "damaged" in str(caught.value)
    assert "restore the ledger from a backup" in str(caught.value)


def test_a_ledger_cut_short_is_refused(spool):
    for number in range(30):
        spool.keep(f"1.{number}")
    spool.ledger.close()
    path = spool.files.ledger_path
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(SpoolError, match="damaged"):
        Ledger(path)


def test_a_text_file_in_place_of_a_ledger_is_refused(tmp_path):
    (tmp_path / "ledger.sqlite").write_text("this is no database\n" * 100)
    with pytest.raises(SpoolError, match="no ledger"):
        Ledger(tmp_path / "ledger.sqlite")


def test_a_database_of_another_program_is_refused(tmp_path):
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(SpoolError, match="another program"):
        Ledger(path)


def test_a_ledger_of_another_version_is_refused(spool):
    spool.ledger.close()
    connection = sqlite3.connect(spool.files.ledger_path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SpoolError, match="version 99; this dae-pacs writes version 4"):
        Ledger(spool.files.ledger_path)


def test_a_spool_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SpoolError, match="is not there"):
        Ledger(tmp_path / "nowhere" / "ledger.sqlite")
    (tmp_path / "ledger.sqlite").mkdir()
    with pytest.raises(SpoolError, match="is a folder"):
        Ledger(tmp_path / "ledger.sqlite")


def _open_as_nobody(path, answers):
    os.setuid(65534)
    try:
        Ledger(path)
    except SpoolError as error:
        answers.put(str(error))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_ledger_that_may_not_be_written_is_refused_in_words(new_spool, tmp_path):
    spool = new_spool("spool")
    for folder in (spool.root, tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    spool.keep()
    spool.ledger.close()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_open_as_nobody, args=(spool.files.ledger_path, answers))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert "can't be opened or written" in answers.get()


def _keep_until_full(spool, number):
    while True:
        spool.keep(f"1.{number}")
        number += 1


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_told_as_such_keeps_what_was_kept_and_goes_on_once_there_is_room(new_spool, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    try:
        spool = new_spool("disk")
        ballast = disk / "ballast"
        for number in range(20):
            spool.keep(f"1.{number}")
        ballast.write_bytes(bytes(int(spool.files.free_mb() * 1e6) - 200_000))
        with pytest.raises(SpoolFullError):
            _keep_until_full(spool, 20)
        kept = spool.ledger.counts()["instances"]["received kept"]
        assert kept > 20
        assert all(instance.path.exists() for instance in spool.ledger.study_story("1.2").instances)
        ballast.unlink()
        spool.keep("2.1")
        spool.reopen()
        assert spool.ledger.counts()["instances"] == {"received kept": kept + 1}
        spool.ledger.close()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _write_beyond_the_limit(path, answers):
    spool_files = SpoolFiles(path.parent)
    ledger = Ledger(path)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        ledger.outbox.failed("PACS", error="x", now=1.0)
    except SpoolError as error:
        answers.put(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    ledger.outbox.failed("PACS", error="x", now=1.0)
    answers.put(str(spool_files.root))


def test_a_write_that_the_disk_refuses_is_told_and_the_ledger_goes_on(spool):
    spool.ledger.close()
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_write_beyond_the_limit, args=(spool.files.ledger_path, answers))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    assert "full" in answers.get()
    assert answers.get() == str(spool.root)


def test_a_ledger_locked_by_another_process_is_waited_for(spool):
    blocker = sqlite3.connect(spool.files.ledger_path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, lambda: blocker.execute("ROLLBACK"))
    release.start()
    start = time.monotonic()
    spool.keep()
    assert time.monotonic() - start > 0.2
    release.join()
    blocker.close()


def test_no_statement_of_the_hot_path_scans_a_table(spool):
    statements = []
    for connection in (spool.ledger._database._writer, spool.ledger._database._reader):
        connection.set_trace_callback(statements.append)
    plan = Plan("denoise", rule="ct", destinations=("PACS",), forward_original=True)
    spool.keep("1.1", plan)
    spool.keep("1.1", plan)
    spool.keep("1.1", plan, content=b"other")
    spool.keep("1.2", plan)
    spool.ledger.association_ended("a1")
    spool.denoise()
    spool.keep("1.3", plan)
    job_id = spool.claim()
    spool.ledger.heartbeat(job_id, "worker", lease_s=60, now=200.0)
    spool.ledger.set_series_number(job_id, 9)
    spool.ledger.set_noise(job_id, "{}")
    spool.ledger.fail_job(job_id, "worker", reason="x", max_attempts=1, now=200.0)
    spool.ledger.release_expired(1e9)
    spool.deliver()
    for instance in spool.ledger.removable(1e9):
        spool.ledger.remove(instance.id)
    spool.ledger.study_story("1.2")
    spool.ledger.retry(now=1.0)
    spool.ledger.retry(study="1.2", now=1.0)
    for connection in (spool.ledger._database._writer, spool.ledger._database._reader):
        connection.set_trace_callback(None)
    scans = [(line, text) for text in set(statements) for line in _scans(spool.files.ledger_path, text)]
    assert not scans
    assert len(statements) > 100


def _scans(path, statement):
    """List the scans of whole tables in a plan; a scan of a partial index reads only what is open."""
    if not re.match(r"\s*(SELECT|UPDATE|INSERT|DELETE)", statement):
        return []
    connection = sqlite3.connect(path)
    try:
        plan = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
    finally:
        connection.close()
    return [
        line
        for line in plan
        if line.startswith("SCAN")
        and line not in {"SCAN sources", "SCAN firsts"}  # of `turns`: found on an index, one for each sender
        and not re.search(
            r"USING (COVERING )?INDEX (collecting|ready|running|failed|waiting|dead|open)_", line
        )
        and "CONSTANT ROW" not in line
    ]
