"""The node: opens the spool, starts the threads, stops them in order."""

import logging
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

from dae_pacs.audit.events import this_process
from dae_pacs.audit.trail import open_trail
from dae_pacs.cluster.extra import check_installed
from dae_pacs.config.model import Settings
from dae_pacs.denoise.manifest import bundle_digest
from dae_pacs.dimse.reception import Store
from dae_pacs.dimse.scp import ScpSettings, StorageSCP
from dae_pacs.dimse.scu import PeerAddress
from dae_pacs.errors import BundleError, SpoolError, SpoolFullError
from dae_pacs.failpoints import reach
from dae_pacs.node import cluster_watch
from dae_pacs.node.auditing import Auditor
from dae_pacs.node.bell import Bell
from dae_pacs.node.cluster_watch import ClusterWatch
from dae_pacs.node.commitment import Committer, report_into
from dae_pacs.node.delivery import Courier, Spool
from dae_pacs.node.devices import workers_on
from dae_pacs.node.dispatch import Dispatcher, DispatchSettings
from dae_pacs.node.doors import Doors
from dae_pacs.node.parts import Parts
from dae_pacs.node.peers import askings_of, destinations_of
from dae_pacs.node.preview import Previewer
from dae_pacs.node.pull_rules import pullers_of
from dae_pacs.node.pulling import Here, Puller
from dae_pacs.node.receive import Receiver
from dae_pacs.node.retention import Keeping, Sweeper
from dae_pacs.node.tally import WorkTally
from dae_pacs.node.uploads import Uploads
from dae_pacs.node.visitors import FILE_NAME
from dae_pacs.node.web_delivery import web_destinations_of
from dae_pacs.node.worker import WorkerSettings
from dae_pacs.resources import bundle_places, find_bundle
from dae_pacs.spool.files import IncomingFile, SpoolFiles
from dae_pacs.spool.ledger import LAST_WRITES_S, Ledger

logger = logging.getLogger(__name__)

TICK_S = 0.2
"""How often completeness and leases are looked at: well below the shortest useful quiet time."""
STOP_GRACE_S = 20.0
"""How long a job in work may go on after a stop was asked for, before it is given back to the ledger."""


class Node:
    """One receiving process with its worker: `start`, then `stop`."""

    def __init__(self, settings: Settings) -> None:
        """Open the spool and its ledger, and check that every model a rule names is there.

        Raises:
            BundleError: a model is missing, or has no manifest.
            ClusterError: a cluster is to be used, and Ray is not installed.
            ConfigError: a certificate or key can't be used.
            SpoolError: the spool can't be used, another node works on it, or its ledger is damaged.
        """
        self._settings = settings
        self._digests = self._digests_of_models()
        if settings.compute.engine == "ray":
            check_installed()
        destinations = [*destinations_of(settings), *web_destinations_of(settings)]
        self._doors = Doors(
            settings,
            report_path=settings.node.spool / FILE_NAME,
            peers={each.name: each.peer for each in destinations if isinstance(each.peer, PeerAddress)},
        )
        self.files = SpoolFiles(settings.node.spool)
        self._held = ExitStack()
        self._held.enter_context(self.files.hold())
        self.ledger = Ledger(self.files.ledger_path)
        self._held.callback(self.ledger.close)
        us = this_process(settings.node.ae_title)
        self._audit = Auditor(open_trail(settings.audit, us, spool=self.files.root), us)
        work, results = Bell(), Bell()
        self._work = work
        receiver = Receiver(self.files, self.ledger, settings.rules, settings.model, results, self._audit)
        self._receiver = receiver
        self.scp = StorageSCP(
            _scp_settings(settings),
            open_file=self._open_file,
            keep=receiver.keep,
            association_ended=self._association_ended,
            on_report=report_into(self.ledger.commitments) if askings_of(settings) else None,
            entrance=self._doors.entrance(self._audit.refused),
        )
        self._uploads = Uploads(
            self.files,
            called_ae=settings.node.ae_title,
            keep=receiver.keep,
            ended=self._association_ended,
        )
        address = settings.compute.address if settings.compute.engine == "ray" else None
        self.cluster = ClusterWatch(settings.node.spool / cluster_watch.FILE_NAME, address)
        tally = WorkTally()
        self.dispatchers = [
            Dispatcher(self.ledger, each, work=work, results=results, tally=tally, cluster=self.cluster)
            for each in self._dispatch_settings()
        ]
        self.dispatcher = self.dispatchers[0]
        spool = Spool(self.files, self.ledger, self._audit)
        self._senders: list[Courier | Committer] = [
            Courier(spool, destination, calling_ae=settings.node.ae_title, results=results)
            for destination in destinations
            for _ in range(destination.associations)
        ]
        retention = settings.retention
        keeping = Keeping(retention.keep_hours, retention.sweep_s, retention.make_room_below_mb)
        self._sweeper = Sweeper(self.ledger, self._audit, keeping, free_mb=self.files.free_mb)
        self._senders += [Committer(self.ledger.commitments, asking) for asking in askings_of(settings)]
        self._pullers = self._new_pullers(receiver)
        self.parts = Parts(
            settings,
            self.ledger,
            self.files,
            self.scp,
            dispatchers=tuple(self.dispatchers),
            cluster=self.cluster,
            receiver=receiver,
            couriers=tuple(one for one in self._senders if isinstance(one, Courier)),
            doors=self._doors,
            uploads=self._uploads,
            audit=self._audit,
            work=work,
            results=results,
            started_at=time.time(),
            previews=Previewer(self.ledger, self._dispatch_settings()[0].worker, folder=self.files.incoming),
        )
        self._stopping = threading.Event()
        self._clock = self._new_clock()

    def start(self) -> None:
        """Reconcile disk and ledger, then receive, work and deliver.

        Raises:
            ServiceError: the port can't be opened.
        """
        self.ledger.recover(time.time())
        self._reconcile()
        self._warn_of_lost_peers()
        for name, peer in self._settings.peers.items():
            if not peer.commitment:
                self.ledger.commitments.stop_asking(name)
        self.files.make_ahead()
        self.scp.start()
        self._doors.open()
        self._keep_threads_running()
        self._clock.start()
        self._audit.started()
        logger.info(
            "node started",
            extra={"ae_title": self._settings.node.ae_title, "port": self.scp.port},
        )

    def keep_running(self) -> None:
        """Replace the clock where an error ended it; the clock looks after all other threads."""
        if not self._clock.is_alive() and not self._stopping.is_set():
            logger.critical("clock died, starting another")
            self._clock = self._new_clock()
            self._clock.start()

    def _new_clock(self) -> threading.Thread:
        return threading.Thread(target=self._tick, name="clock")

    def stop(self) -> None:
        """Stop receiving, let the work in hand end or go back to the ledger, and close."""
        logger.info("node stopping")
        for puller in self._pullers:
            puller.ask_to_stop()
        self.scp.stop()  # whatever the archives do
        for puller in self._pullers:
            puller.stop()
        self._stopping.set()
        if self._clock.is_alive():
            self._clock.join()
        self.parts.previews.close()
        self._stop_dispatchers()
        for sender in self._senders:
            sender.stop()
        self._sweeper.stop()
        self._doors.close()
        self.files.slots.stop()
        self.ledger.index.drain(LAST_WRITES_S)
        self._audit.stopped()
        self._held.close()
        logger.info("node stopped")

    def _new_pullers(self, receiver: Receiver) -> list[Puller]:
        node = self._settings.node
        least_free_mb = max(node.minimum_free_mb, self._settings.retention.make_room_below_mb)
        return pullers_of(
            self._settings,
            Here(self.files, self.ledger, self._audit, least_free_mb),
            store=Store(self._open_file, receiver.keep, node.max_object_mb * 1_000_000),
            association_ended=self._association_ended,
            attendance=self.scp.attendance,
        )

    def _stop_dispatchers(self) -> None:
        for dispatcher in self.dispatchers:
            dispatcher.ask_to_stop()
        deadline = time.monotonic() + STOP_GRACE_S
        for dispatcher in self.dispatchers:
            dispatcher.stop(max(0.0, deadline - time.monotonic()))

    def _reconcile(self) -> None:
        found = self.ledger.reconcile(self.files, adopt=self._receiver.adopt)
        if not found.is_clean:
            logger.warning(
                "spool and ledger disagreed",
                extra={
                    "missing": len(found.missing),
                    "found_again": found.found_again,
                    "adopted": found.adopted,
                    "quarantined": len(found.orphans),
                    "swept": found.swept,
                },
            )

    def _warn_of_lost_peers(self) -> None:
        for destination in sorted(set(self.ledger.destinations_owed()) - set(self._settings.destinations)):
            logger.warning(
                "deliveries wait for a destination that the configuration no longer names; "
                "put it back under peers, and they go out; or dae-pacs drop it",
                extra={"destination": destination},
            )

    def _digests_of_models(self) -> dict[str, str]:
        """Say what each model is that may be needed; none may be another before the node starts anew."""
        model = self._settings.model
        names = {model.name, *(rule.model for rule in self._settings.rules if rule.model)}
        digests = {name: bundle_digest(find_bundle(name, model.folder)) for name in names}
        for place in bundle_places(model.folder):  # a person may ask for any of them, in the console
            with suppress(BundleError):
                digests.setdefault(place.name, bundle_digest(place.folder))
        return digests

    def _open_file(self) -> IncomingFile:
        free_mb, needed_mb = self.files.free_mb(), self._settings.node.minimum_free_mb
        if free_mb < needed_mb:
            raise SpoolFullError(
                f"only {free_mb:.0f} MB are free on the spool's disk and node.minimum_free_mb asks for "
                f"{needed_mb}: make room, or shorten retention.keep_hours; dae-pacs status says what is owed"
            )
        return self.files.open_incoming()

    def _association_ended(self, association: str) -> None:
        # What came is counted when its row is written: the trail hears of the end after that.
        told = partial(self._audit.association_ended, association)
        self.ledger.index.association_ended(association, then=told)

    def _tick(self) -> None:
        while not self._stopping.wait(TICK_S):
            reach("thread.clock")
            try:
                self._look_after(time.time())
            except SpoolError as error:  # a full disk passes; the clock must outlive it
                logger.error("ledger not writable", extra={"why": str(error)})  # noqa: TRY400

    def _look_after(self, now: float) -> None:
        """Promote complete series, take back expired leases, replace dead threads."""
        node = self._settings.node
        promoted = self.ledger.promote_ready(now, quiet_s=node.quiet_s, idle_s=node.idle_s)
        if promoted or self.ledger.release_expired(now, max_attempts=node.job_attempts):
            self._work.ring()
        self._keep_threads_running()
        self._doors.look()
        self._uploads.look()

    def _keep_threads_running(self) -> None:
        self.scp.keep_running()
        self.ledger.index.keep_running()
        for dispatcher in self.dispatchers:
            dispatcher.keep_running()
        for sender in (*self._senders, *self._pullers):
            sender.keep_running()
        self._sweeper.keep_running()

    def _dispatch_settings(self) -> list[DispatchSettings]:
        """Settings of a dispatcher for each of this machine's devices, or of several for a cluster."""
        settings = self._settings
        one = DispatchSettings(
            worker=WorkerSettings(
                device=settings.model.device,
                model=settings.model.name,
                models_folder=settings.model.folder,
                spool=self.files.root,
                log=settings.log,
                digests=self._digests,
                compute=settings.compute,
            ),
            ae_title=settings.node.ae_title,
            lease_s=settings.node.lease_s,
            job_attempts=settings.node.job_attempts,
        )
        if settings.compute.engine == "ray":
            return [replace(one, number=number + 1) for number in range(settings.compute.series)]
        devices = workers_on(settings.model.device)
        return [replace(one, worker=replace(one.worker, device=device)) for device in devices]


def _scp_settings(settings: Settings) -> ScpSettings:
    node = settings.node
    return ScpSettings(
        ae_title=node.ae_title,
        bind=node.bind,
        port=node.port,
        max_associations=node.max_associations,
        max_associations_per_address=node.max_associations_per_address,
        max_pdu_bytes=node.max_pdu_bytes,
        max_object_bytes=node.max_object_mb * 1_000_000,
        association_timeout_s=node.association_timeout_s,
        pdu_timeout_s=node.pdu_timeout_s,
        dimse_timeout_s=node.dimse_timeout_s,
        network_timeout_s=node.network_timeout_s,
        object_timeout_s=node.object_timeout_s,
    )
