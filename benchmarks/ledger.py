"""Measure whether the ledger slows down as it grows: recording instances at 10^6 against at 10^3.

    python benchmarks/ledger.py [--large 1000000] [--folder /dev/shm] [--dry]

Each ledger is filled with instances that were received, delivered and are done with, in series of 200; then
new series are recorded by the node's own call, 64 objects to a transaction, and looked up one by one as each
arriving object is. Small and large ledger take turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from results import record

from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewInstance, Plan

SMALL = 1_000
SERIES = 200
BATCH = 64
MEASURED = 640
PLAN = Plan("forward", rule="all", destinations=("pacs",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--dry", action="store_true", help="print the row and record nothing")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=given.folder) as folder:
        spools = [_filled(Path(folder) / str(count), count) for count in (SMALL, given.large)]
        ratios, seconds = [], []
        for number in range(given.rounds + 1):
            small, large = (_measured(files, ledger, number) for files, ledger in spools)
            if number:  # the first round only warms up
                ratios.append(large / small)
                seconds.append(small / MEASURED)
        for _files, ledger in spools:
            ledger.close()
    row = {
        "id": "ledger_1e6_over_1e3",
        "value": round(statistics.median(ratios), 3),
        "unit": "",
        "peer": "the same at 10^3 instances (s)",
        "peer_value": round(statistics.median(seconds), 6),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "command": "python benchmarks/ledger.py",
        "note": f"{given.large} instances; median of {given.rounds} rounds of {MEASURED}; ledger in memory",
    }
    print(row)
    if not given.dry:
        record([row])


def _filled(root: Path, count: int) -> tuple[SpoolFiles, Ledger]:
    """Make a ledger of so many instances that nothing is owed for."""
    files = SpoolFiles(root)
    ledger = Ledger(files.ledger_path)
    files.object_path("0", "0", digest="0").write_bytes(b"x")
    with ledger._database.writing() as connection:
        connection.execute("INSERT INTO associations VALUES (1, 'old', 'CT', 'DAE_PACS', '127.0.0.1', 0)")
        connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?, ?, 'A', '20260101', 'CT', 'thorax', 3, 'received', ?, ?)",
            ((n, f"1.7.{n}", f"1.7.{n}.1", f"P{n}", n, n) for n in range(1, count // SERIES + 1)),
        )
        connection.executemany(
            "INSERT INTO instances (id, series_id, association_id, origin, status, action, rule, SOPClassUID,"
            " SOPInstanceUID, transfer_syntax_uid, digest, path, size_bytes, received_at)"
            " VALUES (?, ?, 1, 'received', 'kept', 'forward', 'all', '1.2.840.10008.5.1.4.1.1.2', ?,"
            " '1.2.840.10008.1.2.1', ?, ?, 1, ?)",
            (
                (
                    n,
                    min(n // SERIES + 1, count // SERIES),
                    f"1.7.{n}.2",
                    f"{n:064x}",
                    f"objects/00/{n}.dcm",
                    n,
                )
                for n in range(1, count + 1)
            ),
        )
        connection.executemany(
            "INSERT INTO deliveries (instance_id, destination, status, next_try_at, created_at, delivered_at)"
            " VALUES (?, 'pacs', 'delivered', 0, 0, 0)",
            ((n,) for n in range(1, count + 1)),
        )
    return files, ledger


def _measured(files: SpoolFiles, ledger: Ledger, number: int) -> float:
    """Give the seconds that new objects take: asked for, and recorded."""
    objects = [(_new(files, f"1.9.{number}", n), PLAN) for n in range(MEASURED)]
    started = time.perf_counter()
    for start in range(0, MEASURED, BATCH):
        batch = objects[start : start + BATCH]
        for new, _plan in batch:
            ledger.known_origin(new.SOPInstanceUID)
        ledger.keep_all(batch)
    return time.perf_counter() - started


def _new(files: SpoolFiles, study: str, number: int) -> NewInstance:
    return NewInstance(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.2",
        SOPInstanceUID=f"{study}.2.{number}",
        StudyInstanceUID=study,
        SeriesInstanceUID=f"{study}.1.{number // SERIES}",
        PatientID="P",
        AccessionNumber="A",
        StudyDate="20260101",
        Modality="CT",
        SeriesDescription="thorax",
        SeriesNumber=3,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest=f"{number:064x}",
        path=files.object_path("0", "0", digest="0"),
        size_bytes=1,
        calling_ae="CT",
        called_ae="DAE_PACS",
        address="127.0.0.1",
        association=study,
        expected_count=None,
        received_at=time.time(),
    )


if __name__ == "__main__":
    main()
