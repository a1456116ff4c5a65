"""Hand ready series to one worker process, and write down what it says of them.

A node has one dispatcher for its own device, and several where a cluster does the work: each waits for one
series at a time, and what one series does to its worker process touches no other.
"""

import logging
import multiprocessing
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from dae_pacs.failpoints import reach
from dae_pacs.image.derive import derived_series_number
from dae_pacs.node.bell import Bell
from dae_pacs.node.cluster_watch import ClusterWatch
from dae_pacs.node.events import (
    Calibrated,
    Derived,
    Event,
    Failed,
    Finished,
    Loaded,
    Pause,
    Paused,
    Postponed,
    Rejected,
    SeriesTask,
    Source,
    Underway,
)
from dae_pacs.node.tally import WorkTally
from dae_pacs.node.worker import WorkerSettings, run_worker
from dae_pacs.spool.backoff import backoff_s
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Instance, Job, NewDerived
from dae_pacs.spool.states import JobStatus

logger = logging.getLogger(__name__)

STALL_S = 120.0
"""A worker that reports nothing for this long on one task is taken for hung: a decoder gone astray."""
STALL_S_PER_MB = 15.0
"""On top, for what the worker does between two words: the slowest path measured takes 1 s for a megabyte of
pixels (a UNet in float32 on two threads); compressed to a third, on a machine with other work, it stays below
this."""
MOST_STALL_MB = 64.0
"""Of one object between two words: within an object of many frames the worker speaks after every few, and no
detector makes a single frame of more."""
RESTART_PAUSE_S = 1.0
"""Between a worker's death and the next one, so that a worker that can't start does not spin."""


LOOK_S = 0.2
"""Between two looks at whether the thread of a worker that was killed has ended."""
RAYS_EXIT_CODE = 1
"""Of a process whose question to the cluster's head found no ear (`cluster.extra`). A decoder that runs wild
ends by a signal."""
LONGEST_PAUSE_S = 15.0
"""Between two attempts to reach a cluster that is away: a look costs it nothing, and a study waits."""


@dataclass(frozen=True)
class DispatchSettings:
    """What the dispatcher of one worker needs to know."""

    worker: WorkerSettings
    ae_title: str
    lease_s: float
    job_attempts: int
    number: int | None = None
    """Which of several dispatchers it is; None where there is one."""

    @property
    def owner(self) -> str:
        """Whose leases these are."""
        return f"worker {self.worker.device}" if self.number is None else f"worker ray {self.number}"


class Dispatcher:
    """Owns one worker process: starts it, feeds it, restarts it when it dies."""

    def __init__(
        self,
        ledger: Ledger,
        settings: DispatchSettings,
        *,
        work: Bell,
        results: Bell,
        tally: WorkTally | None = None,
        cluster: ClusterWatch | None = None,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._work = work
        self._results = results
        self._owner = settings.owner
        self._cluster = cluster
        self._times_put_off = 0
        self.tally = tally or WorkTally()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    @property
    def name(self) -> str:
        """Whose leases its jobs have, and under which name its worker speaks to the tally."""
        return self._owner

    @property
    def worker_pid(self) -> int | None:
        """Process id of the worker, None while there is none."""
        return self._process.pid if self._process is not None else None

    @property
    def is_working(self) -> bool:
        """Whether there is a worker process; asked so, it takes its end from nobody who waits for it."""
        process = self._process
        return process is not None and not wait([process.sentinel], timeout=0)

    @property
    def is_running(self) -> bool:
        """Whether the thread that feeds the worker is alive."""
        return self._thread is not None and self._thread.is_alive()

    def keep_running(self) -> None:
        """Start the thread that feeds the worker, or another in its place when an error ended it."""
        if self.is_running:
            return
        if self._thread is not None:
            logger.critical("dispatcher died, starting another", extra={"worker": self._owner})
        self._thread = threading.Thread(target=self._run, name=self._owner)
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Take no other job; `stop` waits for the one in work."""
        self._stopping.set()
        self._work.ring()

    def stop(self, grace_s: float) -> None:
        """Let the job in work end within `grace_s`; otherwise it goes back to the ledger."""
        self.ask_to_stop()
        thread = self._thread
        if thread is None:
            return
        thread.join(grace_s)
        while thread.is_alive():
            # Only its signal comes from here: what the worker's end means is for the thread that owns it.
            if (process := self._process) is not None:
                process.kill()
            thread.join(LOOK_S)

    def _run(self) -> None:
        try:
            self._feed()
        finally:
            self._end_worker()  # what it still has to say would be taken for the next job's

    def _feed(self) -> None:
        while not self._stopping.is_set():
            if self._process is None or not self._process.is_alive():
                self._start_worker()
            reach("thread.dispatcher")
            self._listen()
            heard = self._work.heard()
            job = self._ledger.claim_job(self._owner, lease_s=self._settings.lease_s, now=time.time())
            if job is None:
                self._work.wait(heard, timeout_s=1.0)
            else:
                self._do(job)

    def _start_worker(self) -> None:
        if self._process is not None:
            self._lose_worker()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=run_worker, args=(theirs, self._settings.worker), name=self._owner, daemon=True
        )
        process.start()
        theirs.close()
        self._process, self._pipe = process, ours
        self.tally.worker_started(self._owner)

    def _listen(self) -> None:
        """Hear what a worker without a task has to say of itself."""
        try:
            while self._pipe is not None and self._pipe.poll():
                word: Event = self._pipe.recv()
                if isinstance(word, Loaded):
                    self.tally.worker_spoke(self._owner, word)
        except (EOFError, OSError):  # it died: the next task notices
            return

    def _end_worker(self) -> None:
        process, pipe = self._process, self._pipe
        if process is None:
            return
        if pipe is not None:
            pipe.close()
        process.join(timeout=0.5)
        if process.is_alive():
            process.kill()
            process.join()
        self._process = self._pipe = None
        self.tally.worker_lost(self._owner)

    def _lose_worker(self) -> int | None:
        """Clear away a worker that died or can't be trusted any more; the next job starts another.

        Returns:
            Its exit code, None where that is not known.
        """
        process, exit_code = self._process, None
        if process is not None:
            process.join(timeout=1.0)  # its pipe closes a moment before it can be waited for
            exit_code = process.exitcode
            logger.error("worker lost", extra={"exit_code": exit_code})
        self._end_worker()
        self._stopping.wait(RESTART_PAUSE_S)
        return exit_code

    def _outcome_of_death(self, exit_code: int | None) -> Failed | Postponed:
        """Tell a worker that its series may have killed from one that Ray ended for want of a head."""
        if self._settings.number is not None and exit_code == RAYS_EXIT_CODE:
            return Postponed("Ray ended the worker process; it does so when the cluster's head is gone")
        return Failed("the worker process died while it worked on this series")

    def _do(self, job: Job) -> None:
        reach("job.claimed")
        started = time.monotonic()
        self.tally.job_claimed(time.time() - job.last_image_at)
        task = self._task(job)
        if not task.sources:
            self._ledger.finish_job(job.id, self._owner, stages={}, now=time.time())
            return
        logger.info("job started", extra={"job": job.id, "images": len(task.sources), "model": task.model})
        try:
            outcome = self._follow(task)
        except (EOFError, OSError):
            outcome = self._outcome_of_death(self._lose_worker())
        if isinstance(outcome, Finished):
            reach("job.finishing")
            stages = outcome.stage_seconds
            ended = self._ledger.finish_job(job.id, self._owner, stages=stages, now=time.time())
            how = "failed" if ended is JobStatus.FAILED else "done"
            self.tally.job_ended(how, stages | {"whole": time.monotonic() - started})
            logger.info("job done", extra={"job": job.id, **_rounded(stages)})
            self._times_put_off = 0
        elif self._stopping.is_set():
            self.tally.job_ended("given back", {})
            self._ledger.release_job(job.id, self._owner)
            logger.info("job given back at shutdown", extra={"job": job.id})
        elif isinstance(outcome, Paused):
            self.tally.job_ended("given back", {})
            self._ledger.release_job(job.id, self._owner)
            logger.info("job paused for a more urgent one", extra={"job": job.id})
        elif isinstance(outcome, Postponed):
            self._put_off(job, outcome.reason)
        else:
            self.tally.job_ended("failed", {})
            self._ledger.fail_job(
                job.id,
                self._owner,
                reason=outcome.reason,
                max_attempts=self._settings.job_attempts,
                now=time.time(),
            )
            logger.error("job failed", extra={"job": job.id, "why": outcome.reason})
        self._results.ring()

    def _put_off(self, job: Job, reason: str) -> None:
        """Give a job back uncounted that the cluster could not do, and leave that alone for a while."""
        self.tally.job_ended("given back", {})
        self._ledger.release_job(job.id, self._owner)
        self._times_put_off += 1
        pause_s = min(backoff_s(self._times_put_off), LONGEST_PAUSE_S)
        logger.warning("job put off", extra={"job": job.id, "why": reason, "seconds": round(pause_s, 1)})
        if self._cluster is not None:
            self._cluster.is_away(reason)
        self._stopping.wait(pause_s)

    def _task(self, job: Job) -> SeriesTask:
        images = self._ledger.pending_instances(job.id)
        return SeriesTask(
            job_id=job.id,
            sources=tuple(Source(image.id, image.path, image.digest, image.size_bytes) for image in images),
            model=job.model,
            strength=job.strength,
            description=job.description,
            series_number=self._series_number(job, images),
            ae_title=self._settings.ae_title,
            noise=job.noise,
            kind=job.kind,
            compression=job.compression,
        )

    def _series_number(self, job: Job, images: Sequence[Instance]) -> int:
        """Take the number that the derived series has, or choose one that is free in its study."""
        if job.series_number is not None:
            return job.series_number
        taken = self._ledger.taken_series_numbers(job.StudyInstanceUID)
        number = derived_series_number(images[0].SeriesNumber if images else None, taken)
        return self._ledger.set_series_number(job.id, number)

    def _follow(self, task: SeriesTask) -> Finished | Paused | Failed | Postponed:
        """Send the task and record each event until the worker says it is through.

        Raises:
            EOFError, OSError: the worker died.
        """
        if self._pipe is None:
            raise EOFError
        self._pipe.send(task)
        patience_s = stall_s(task.sources)
        last_word = time.monotonic()
        is_asked_to_pause = False
        while True:
            if not self._beat(task.job_id):
                self._end_worker()
                return Failed("its lease ran out, and another worker has it")
            if not is_asked_to_pause and self._ledger.is_overtaken(task.job_id, now=time.time()):
                self._pipe.send(Pause(task.job_id))
                is_asked_to_pause = True
            if not self._pipe.poll(min(5.0, self._settings.lease_s / 4)):
                if time.monotonic() - last_word > patience_s:
                    self._end_worker()
                    return Failed(f"no sign of life from the worker for {patience_s:.0f} s; it was ended")
                continue
            event: Event = self._pipe.recv()
            last_word = time.monotonic()
            if isinstance(event, Finished | Paused | Failed | Postponed):
                return event
            if isinstance(event, Loaded):
                self.tally.worker_spoke(self._owner, event)
            elif not isinstance(event, Underway):
                self._record(task.job_id, event)

    def _beat(self, job_id: int) -> bool:
        lease_s = self._settings.lease_s
        return self._ledger.heartbeat(job_id, self._owner, lease_s=lease_s, now=time.time())

    def _record(self, job_id: int, event: Calibrated | Derived | Rejected) -> None:
        reach("job.told")
        if isinstance(event, Calibrated):
            self._ledger.set_noise(job_id, event.noise)
        elif isinstance(event, Rejected):
            self._ledger.reject_instance(job_id, event.instance_id, reason=event.reason)
            self.tally.image_done("rejected")
            logger.warning("image passed over", extra={"job": job_id, "instance": event.instance_id})
        else:
            self._ledger.record_derived(job_id, event.instance_id, new=_as_new(event))
            self.tally.image_done("derived")
            self._results.ring()
            if self._cluster is not None:
                self._cluster.is_there()


def stall_s(sources: Sequence[Source]) -> float:
    """Say how long a worker may be silent over a series: it speaks after each image, and within long ones."""
    largest_mb = max((source.size_bytes for source in sources), default=0) / 1e6
    return STALL_S + STALL_S_PER_MB * min(largest_mb, MOST_STALL_MB)


def _as_new(event: Derived) -> NewDerived:
    return NewDerived(
        SOPClassUID=event.SOPClassUID,
        SOPInstanceUID=event.SOPInstanceUID,
        SeriesInstanceUID=event.SeriesInstanceUID,
        SeriesDescription=event.SeriesDescription,
        SeriesNumber=event.SeriesNumber,
        transfer_syntax_uid=event.transfer_syntax_uid,
        digest=event.digest,
        path=event.path,
        size_bytes=event.size_bytes,
        created_at=time.time(),
    )


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {f"{stage}_s": round(value, 3) for stage, value in seconds.items()}
