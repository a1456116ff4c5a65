"""The node's figures as samples of the metrics in `catalogue`; pure, so that each can be tested by itself."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from dae_pacs.node.figures import NodeFigures
from dae_pacs.node.processes import Process, together
from dae_pacs.node.tally import Distribution
from dae_pacs.spool.backlog import Backlog, Owed
from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.files import Room
from dae_pacs.web.catalogue import METRICS


@dataclass(frozen=True)
class Seen:
    """What could be learnt at one moment."""

    figures: NodeFigures | None
    """None where the node does not answer."""
    backlog: Backlog | None
    """None where the ledger can't be read."""
    room: Room | None
    minimum_free_bytes: int
    web: Process | None
    certificates: Mapping[str, float]
    """Of the console itself."""


@dataclass(frozen=True)
class Sample:
    """One value of a metric of the catalogue."""

    name: str
    value: float | Distribution
    labels: tuple[str, ...] = ()


def families(samples: Iterable[Sample]) -> Iterator[Metric]:
    """Put samples together by their metric, as prometheus-client wants them."""
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.name, []).append(sample)
    for name, metric in METRICS.items():
        if name in found:
            yield _family(name, metric.kind, found[name])


def _family(name: str, kind: str, samples: list[Sample]) -> Metric:
    metric = METRICS[name]
    head = (metric.family, metric.help)
    if kind == "histogram":
        histogram = HistogramMetricFamily(*head, labels=metric.labels)
        for sample in samples:
            if isinstance(sample.value, Distribution):
                histogram.add_metric(sample.labels, _buckets(sample.value), sample.value.sum)
        return histogram
    if kind == "info":
        info = InfoMetricFamily(*head)
        for sample in samples:
            info.add_metric([], dict(zip(metric.labels, sample.labels, strict=True)))
        return info
    made = CounterMetricFamily if kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = made(*head, labels=metric.labels)
    for sample in samples:
        if not isinstance(sample.value, Distribution):
            family.add_metric(sample.labels, sample.value)
    return family


def _buckets(seen: Distribution) -> list[tuple[str, float]]:
    """Sum up, as the format wants it: how many lie at or below each bound."""
    buckets, total = [], 0
    for bound, count in zip((*map(str, seen.bounds), "+Inf"), seen.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def samples_of(seen: Seen, *, now: float | None = None) -> Iterator[Sample]:
    """Give every sample that can be given."""
    moment = time.time() if now is None else now
    yield Sample("dae_pacs_up", float(seen.figures is not None))
    yield Sample("dae_pacs_ledger_up", float(seen.backlog is not None))
    if seen.figures is not None:
        yield from _of_node(seen.figures)
        yield from _of_worker(seen.figures)
        yield from _of_sending(seen.figures)
    if seen.backlog is not None:
        yield from _of_backlog(seen.backlog, moment)
    if seen.room is not None:
        yield Sample("dae_pacs_spool_free_bytes", seen.room.free_bytes)
        yield Sample("dae_pacs_spool_size_bytes", seen.room.total_bytes)
    yield Sample("dae_pacs_spool_minimum_free_bytes", seen.minimum_free_bytes)
    theirs = {} if seen.figures is None else seen.figures.certificates
    for whose, expires_at in {**theirs, **seen.certificates}.items():
        yield Sample("dae_pacs_certificate_expiry_timestamp_seconds", expires_at, (whose,))
    yield from _of_process("web", seen.web)


def _of_node(figures: NodeFigures) -> Iterator[Sample]:
    attended, lag = figures.attended, figures.lag
    yield Sample("dae_pacs_build_info", 1, (figures.version,))
    yield Sample("dae_pacs_start_time_seconds", figures.started_at)
    for way, came in (("dimse", attended), ("dicomweb", figures.uploaded)):
        answers = {f"{code:04X}": count for code, count in came.answers.items()}
        yield Sample("dae_pacs_received_instances_total", came.objects, (way,))
        yield Sample("dae_pacs_received_bytes_total", came.size_bytes, (way,))
        yield from _each("dae_pacs_store_responses_total", answers, way)
    yield Sample("dae_pacs_associations_accepted_total", attended.accepted)
    yield Sample("dae_pacs_associations_open", attended.under_way)
    yield Sample("dae_pacs_associations_limit", figures.limit)
    yield from _each("dae_pacs_associations_ended_total", attended.endings)
    yield from _each("dae_pacs_associations_rejected_total", attended.rejections)
    yield Sample("dae_pacs_unrecorded_instances", lag.objects)
    yield Sample("dae_pacs_unrecorded_bytes", lag.size_bytes)
    yield Sample("dae_pacs_unrecorded_age_seconds", lag.oldest_s)
    yield Sample("dae_pacs_ledger_writable", float(not lag.failure))
    yield from _of_process("receive", figures.process)


def _of_worker(figures: NodeFigures) -> Iterator[Sample]:
    worked = figures.worked
    yield from _each("dae_pacs_jobs_ended_total", worked.jobs)
    yield from _each("dae_pacs_job_images_total", worked.images)
    yield from _each("dae_pacs_job_stage_seconds", worked.stages)
    yield Sample("dae_pacs_job_wait_seconds", worked.waited)
    yield Sample("dae_pacs_worker_up", float(any(worker.is_working for worker in figures.workers)))
    has_model = [name for name, said in worked.spoken.items() if said.identity is not None]
    yield Sample("dae_pacs_workers", len(figures.workers))
    yield Sample("dae_pacs_workers_with_model", len(has_model))
    if figures.cluster is not None:
        yield Sample("dae_pacs_cluster_up", float(figures.cluster.unreachable_since is None))
    yield Sample("dae_pacs_worker_starts_total", worked.starts)
    yield from _of_process("worker", together([worker.process for worker in figures.workers]))
    loaded = worked.loaded
    identity = None if loaded is None else loaded.identity
    yield Sample("dae_pacs_model_loaded", float(identity is not None))
    if identity is not None:
        yield Sample("dae_pacs_model_info", 1, (identity.name, identity.version, identity.digest))
    device = None if loaded is None else loaded.device
    if device is not None:
        yield Sample("dae_pacs_device_info", 1, (device.name,))
    if device is not None and device.total_bytes:
        memory = {
            "used": device.used_bytes,
            "peak": device.peak_bytes,
            "free": device.free_bytes,
            "total": device.total_bytes,
        }
        yield from _each("dae_pacs_device_memory_bytes", memory)


def _of_sending(figures: NodeFigures) -> Iterator[Sample]:
    for name, sent in figures.sent.items():
        yield from _each("dae_pacs_sent_instances_total", sent.outcomes, name)
        yield Sample("dae_pacs_sent_bytes_total", sent.size_bytes, (name,))
        yield Sample("dae_pacs_send_seconds", sent.seconds, (name,))
        yield Sample("dae_pacs_send_failures_total", sent.failures, (name,))


def _of_backlog(backlog: Backlog, now: float) -> Iterator[Sample]:
    yield from _each("dae_pacs_jobs", backlog.jobs)
    yield Sample("dae_pacs_job_oldest_age_seconds", _age(backlog.oldest_job_at, now))
    for (origin, status), held in backlog.instances.items():
        yield Sample("dae_pacs_instances", held.objects, (origin, status))
        yield Sample("dae_pacs_instances_bytes", held.size_bytes, (origin, status))
    for name, owed in backlog.owed.items():
        yield from _of_destination(name, owed, now)


def _of_destination(name: str, owed: Owed, now: float) -> Iterator[Sample]:
    yield from _each("dae_pacs_deliveries", owed.deliveries, name)
    yield Sample("dae_pacs_delivery_oldest_age_seconds", _age(owed.oldest_at, now), (name,))
    states = {state.value: float(state is owed.breaker) for state in Breaker}
    yield from _each("dae_pacs_destination_breaker", states, name)
    yield Sample("dae_pacs_destination_failures", owed.failures, (name,))
    yield Sample("dae_pacs_commitments_open", owed.commitments, (name,))


def _of_process(name: str, process: Process | None) -> Iterator[Sample]:
    if process is None:
        return
    yield Sample("dae_pacs_process_resident_memory_bytes", process.resident_bytes, (name,))
    yield Sample("dae_pacs_process_cpu_seconds_total", process.cpu_s, (name,))
    yield Sample("dae_pacs_process_threads", process.threads, (name,))
    if process.open_files is not None:
        yield Sample("dae_pacs_process_open_fds", process.open_files, (name,))


def _each(name: str, values: Mapping[str, float | Distribution], *labels: str) -> Iterator[Sample]:
    """Give one sample for each value, labelled with its key after `labels`."""
    for key, value in values.items():
        yield Sample(name, value, (*labels, key))


def _age(since: float | None, now: float) -> float:
    """Give an age in seconds; 0 where nothing waits, and where the clock was set back."""
    return 0.0 if since is None else max(0.0, now - since)
