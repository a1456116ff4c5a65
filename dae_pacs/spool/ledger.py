"""The ledger: the only state of the node. One method for each thing that happens, one transaction for each.

What stands behind the methods lies beside this file, by concept: `instances`, `jobs`, `derived`,
`deliveries`, `retention`, `reconcile`, `report`. Times come from the caller, in seconds since 1970.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from dae_pacs.errors import SpoolError
from dae_pacs.spool import deliveries, derived, instances, jobs, reconcile, report, retention, turns
from dae_pacs.spool.acts import Acts
from dae_pacs.spool.backlog import Backlog, backlog
from dae_pacs.spool.commitments import Commitments
from dae_pacs.spool.database import Database
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.index import Index, Writes
from dae_pacs.spool.outbox import Outbox
from dae_pacs.spool.pulls import Pulls
from dae_pacs.spool.records import (
    Delivery,
    Instance,
    Job,
    KeepOutcome,
    NewDerived,
    NewInstance,
    Plan,
    Recovery,
    Retried,
)
from dae_pacs.spool.states import JobStatus, Origin
from dae_pacs.spool.views import Views

LAST_WRITES_S = 10.0
"""How long a node that stops tries to write its last rows; what is left, the next start finds."""
_CATCH_UP_S = 2.0
"""How long a report waits for objects that were acknowledged and have no row yet."""


class Ledger:
    """A SQLite file at the root of the spool, shared by threads and processes.

    Opening refuses a damaged, foreign or lost ledger in words (`verify` reads it whole: the node does, a
    short command need not), and changes nothing that another process is at work on: a node that starts
    calls `recover` and `reconcile`.
    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        self._database = Database(path, verify=verify)
        self._root = self._database.root
        self.outbox = Outbox(self._database)
        """What senders take and tell."""
        self.commitments = Commitments(self._database)
        """What destinations are asked to commit themselves to."""
        self.pulls = Pulls(self._database)
        """What peers are asked to send us."""
        self.views = Views(self._database)
        """What the console reads."""
        self.acts = Acts(self._database)
        """What people have done from there."""
        self.index = Index(Writes(self.keep_all, self._abandon, self._association_ended, self._touch))
        """What arrived and has no row yet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Record what still waits for its row, and close the file."""
        self.index.stop(LAST_WRITES_S)
        self._database.close()

    def recover(self, now: float) -> Recovery:
        """Take back what the node before this one had in hand. Call it once, when a node starts.

        Running jobs become ready, deliveries under way wait again, associations are over. The repeat that
        this may cause is harmless: the same UIDs, made and sent again.
        """
        with self._database.writing() as connection:
            return Recovery(
                jobs=jobs.recover(connection, now),
                deliveries=deliveries.recover(connection, now),
                associations=connection.execute("UPDATE associations SET is_open = 0 WHERE is_open").rowcount,
            )

    def reconcile(
        self, files: SpoolFiles, *, adopt: reconcile.Adopt | None = None, is_rebuilding: bool = False
    ) -> reconcile.Reconciliation:
        """Compare with the disk, put right what can be, report the rest. Call it once, when a node starts.

        Args:
            files: of this ledger's spool.
            adopt: says what to record of an object that was acknowledged and has no row yet; without it
                such a file goes to quarantine.
            is_rebuilding: take also what was kept before files had receipts.
        """
        return reconcile.reconcile(self._database, files, adopt=adopt, is_rebuilding=is_rebuilding)

    def keep(self, new: NewInstance, plan: Plan) -> KeepOutcome:
        """Record a received object whose file is settled, and all that follows from it.

        Raises:
            SpoolError: it is not kept, its file is gone, and it must not be acknowledged.
        """
        try:
            return self.keep_all([(new, plan)])[0]
        except SpoolError:
            with suppress(SpoolError):  # where even this fails, the next start finds the file
                self._abandon(new)
            raise

    def _abandon(self, new: NewInstance) -> None:
        with self._database.writing() as connection:
            instances.abandon(connection, new, root=self._root)

    def keep_all(self, objects: Sequence[tuple[NewInstance, Plan]]) -> list[KeepOutcome]:
        """Record several received objects in one transaction, all or none, for one flush of the disk.

        Raises:
            SpoolError: none is kept; their files stay, so that each may be tried by itself.
        """
        with self._database.writing() as connection:
            return [instances.keep(connection, new, plan, root=self._root) for new, plan in objects]

    def association_ended(self, association: str) -> None:
        """Note that no more images come on an association, once those that came are recorded."""
        self.index.association_ended(association)
        self.index.drain(_CATCH_UP_S)

    def _touch(self) -> None:
        with self._database.writing() as connection:
            connection.execute("UPDATE series SET last_at = last_at WHERE id = (SELECT max(id) FROM series)")

    def _association_ended(self, association: str) -> None:
        query = "SELECT 1 FROM associations WHERE name = ? AND is_open"
        with self._database.reading() as connection:
            if connection.execute(query, (association,)).fetchone() is None:
                return
        with self._database.writing() as connection:
            jobs.association_ended(connection, association)

    def known_origin(self, SOPInstanceUID: str) -> Origin | None:
        """Say whether an object of that UID was received or made before; None where neither was.

        What is still on its way into the ledger is not seen: `index.claim` tells of it.
        """
        with self._database.asking() as connection:
            return instances.known_origin(connection, SOPInstanceUID)

    def is_ours(self, SOPInstanceUID: str) -> bool:
        """Tell whether we made the object of that UID."""
        with self._database.reading() as connection:
            return instances.is_ours(connection, SOPInstanceUID)

    def received(self, SOPInstanceUID: str) -> Instance | None:
        """Find the object that was received under a UID."""
        with self._caught_up() as connection:
            return report.received(connection, SOPInstanceUID, root=self._root)

    def promote_ready(self, now: float, *, quiet_s: float, idle_s: float) -> int:
        """Make complete series ready for a worker, and say how many became so."""
        with self._database.reading() as connection:
            if not jobs.any_in(connection, JobStatus.COLLECTING):
                return 0
        with self._database.writing() as connection:
            return jobs.promote_ready(connection, now, quiet_s=quiet_s, idle_s=idle_s)

    def claim_job(self, owner: str, *, lease_s: float, now: float) -> Job | None:
        """Take the most urgent ready job (STAT first, then the oldest) under a lease; None without one."""
        with self._database.reading() as connection:
            if not jobs.any_in(connection, JobStatus.READY):
                return None
        with self._database.writing() as connection:
            return jobs.claim(connection, owner, lease_s=lease_s, now=now)

    def heartbeat(self, job_id: int, owner: str, *, lease_s: float, now: float) -> bool:
        """Renew a lease; False: the job is another's by now, drop it."""
        with self._database.writing() as connection:
            return jobs.heartbeat(connection, job_id, owner, lease_s=lease_s, now=now)

    def release_expired(self, now: float, *, max_attempts: int = 3) -> list[int]:
        """Take jobs back from silent workers, by their ids; one that silenced `max_attempts` fails."""
        with self._database.reading() as connection:
            if not jobs.any_in(connection, JobStatus.RUNNING):
                return []
        with self._database.writing() as connection:
            return jobs.release_expired(connection, now, max_attempts=max_attempts)

    def is_overtaken(self, job_id: int, *, now: float) -> bool:
        """Tell whether a more urgent job than this one waits for a worker."""
        with self._database.reading() as connection:
            return turns.is_overtaken(connection, job_id, now)

    def release_job(self, job_id: int, owner: str) -> bool:
        """Give an unfinished job back without counting the attempt, as a worker told to stop does."""
        with self._database.writing() as connection:
            return jobs.release(connection, job_id, owner)

    def job(self, job_id: int) -> Job:
        """Read one job."""
        with self._database.reading() as connection:
            return jobs.get(connection, job_id)

    def pending_instances(self, job_id: int) -> list[Instance]:
        """List the images of a job that are neither derived nor rejected, in the order of their arrival."""
        with self._database.reading() as connection:
            return jobs.pending_instances(connection, job_id, root=self._root)

    def set_noise(self, job_id: int, noise: str) -> str:
        """Keep the group's noise model (JSON) with its job; the first stays, and is given back."""
        with self._database.writing() as connection:
            return jobs.set_noise(connection, job_id, noise)

    def set_series_number(self, job_id: int, number: int) -> int:
        """Keep the derived series' number with its job; gives the one that holds: the first that was free."""
        with self._database.writing() as connection:
            return jobs.set_series_number(connection, job_id, number)

    def taken_series_numbers(self, StudyInstanceUID: str) -> set[int]:
        """List the series numbers that a study uses."""
        with self._database.reading() as connection:
            return jobs.taken_series_numbers(connection, StudyInstanceUID)

    def record_derived(self, job_id: int, instance_id: int, *, new: NewDerived) -> int:
        """Record a derived object whose file is durable, with its deliveries; gives its id."""
        with self._database.writing() as connection:
            return derived.record(connection, job_id, instance_id, new=new, root=self._root)

    def reject_instance(self, job_id: int, instance_id: int, *, reason: str) -> None:
        """Record that one image of a job can't be denoised; the others go on."""
        with self._database.writing() as connection:
            jobs.reject_image(connection, job_id, instance_id, reason=reason)

    def finish_job(
        self, job_id: int, owner: str, *, stages: dict[str, float], now: float
    ) -> JobStatus | None:
        """End a run: done, ready again if images joined meanwhile, failed if every image was rejected.

        Returns:
            The job's new status; None when it is another's by now, and nothing was changed.
        """
        with self._database.writing() as connection:
            return jobs.finish(connection, job_id, owner, stages=stages, now=now)

    def fail_job(
        self, job_id: int, owner: str, *, reason: str, max_attempts: int, now: float
    ) -> JobStatus | None:
        """End a run that went wrong: ready again after a pause, or failed; None as in `finish_job`."""
        with self._database.writing() as connection:
            return jobs.fail(connection, job_id, owner, reason=reason, max_attempts=max_attempts, now=now)

    def destinations_owed(self) -> list[str]:
        """List the destinations that something waits for, also those that are no peers any more."""
        with self._database.reading() as connection:
            return deliveries.destinations_owed(connection)

    def removable(self, before: float, *, limit: int = 1000) -> list[Instance]:
        """List what arrived before a time and is owed to nobody, oldest first."""
        with self._database.reading() as connection:
            return retention.removable(connection, before, limit=limit, root=self._root)

    def expendable(self, *, limit: int = 1000) -> list[Instance]:
        """List what may go before its time when the disk fills, oldest first."""
        with self._database.reading() as connection:
            return retention.expendable(connection, limit=limit, root=self._root)

    def remove(self, *ids: int) -> set[int]:
        """Delete instances' files unless something is owed for them; says whose files are gone."""
        return retention.remove(self._database, ids)

    def holds_any(self, StudyInstanceUID: str) -> bool:
        """Tell whether the file of any object of a study is still there."""
        with self._database.reading() as connection:
            return retention.holds_any(connection, StudyInstanceUID)

    @contextmanager
    def _caught_up(self) -> Iterator[sqlite3.Connection]:
        """Read the ledger with all that was acknowledged before."""
        self.index.drain(_CATCH_UP_S)
        with self._database.reading() as connection:
            yield connection

    def counts(self) -> dict[str, dict[str, int]]:
        """Count instances, jobs, images of jobs and deliveries by status."""
        with self._caught_up() as connection:
            return report.counts(connection)

    def backlog(self, *, now: float, breaker_after: int) -> Backlog:
        """Tell what is still to be done, and how old it is; costs no more than what is waiting."""
        return backlog(self._database, now=now, breaker_after=breaker_after)

    def studies(self, *, limit: int = 100) -> list[report.Study]:
        """List studies, the latest first."""
        with self._caught_up() as connection:
            return report.studies(connection, limit=limit)

    def jobs(self, *, status: str | None = None, study: str | None = None, limit: int = 100) -> list[Job]:
        """List jobs, the latest first."""
        with self._caught_up() as connection:
            return report.list_jobs(connection, status=status, study=study, limit=limit)

    def deliveries(
        self, *, status: str | None = None, study: str | None = None, limit: int = 100
    ) -> list[Delivery]:
        """List deliveries, the latest first."""
        with self._caught_up() as connection:
            return report.list_deliveries(
                connection, status=status, study=study, limit=limit, root=self._root
            )

    def study_story(self, StudyInstanceUID: str) -> report.StudyStory:
        """Tell everything about one study."""
        with self._caught_up() as connection:
            return report.study_story(connection, StudyInstanceUID, root=self._root)

    def retry(self, *, study: str | None = None, now: float) -> Retried:
        """Requeue failed jobs and dead deliveries, of one study or of all."""
        self.index.drain(_CATCH_UP_S)
        with self._database.writing() as connection:
            return report.retry(connection, study=study, now=now)
