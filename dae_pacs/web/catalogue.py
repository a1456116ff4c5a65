"""Every metric of `/metrics`: its name, its kind, its labels and what it says.

`docs/metrics.md` is made from here: python -m dae_pacs.web.catalogue > docs/metrics.md
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["gauge", "counter", "histogram", "info"]


@dataclass(frozen=True)
class Metric:
    """One metric, named by Prometheus' conventions: base units, `_total` for what only grows."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The name without the suffix that its kind brings along."""
        return self.name.removesuffix("_total").removesuffix("_info")


DESTINATION: Final = ("destination",)
METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("dae_pacs_up", "gauge", "1 while the receiving process answers, 0 while it does not."),
        Metric("dae_pacs_ledger_up", "gauge", "1 while the console can read the ledger."),
        Metric("dae_pacs_build_info", "info", "The node's version.", ("version",)),
        Metric("dae_pacs_start_time_seconds", "gauge", "When the node started, since 1970."),
        # Receiving
        Metric(
            "dae_pacs_received_instances_total",
            "counter",
            "Objects answered with success, by how they came: dimse (C-STORE), dicomweb (STOW-RS).",
            ("by",),
        ),
        Metric("dae_pacs_received_bytes_total", "counter", "Bytes of their data sets.", ("by",)),
        Metric(
            "dae_pacs_store_responses_total",
            "counter",
            "Answers for objects, in hexadecimal: 0000 is success; A700, no room; A900, command and "
            "data set differ; C000, not understood; 0111, another object of that UID; 0110, unexpected.",
            ("by", "status"),
        ),
        Metric("dae_pacs_associations_accepted_total", "counter", "Associations that were accepted."),
        Metric("dae_pacs_associations_open", "gauge", "Associations under way."),
        Metric("dae_pacs_associations_limit", "gauge", "Associations served at a time at most."),
        Metric(
            "dae_pacs_associations_ended_total",
            "counter",
            "Associations by their end: released, aborted (by the peer), aborted by us, broken.",
            ("how",),
        ),
        Metric(
            "dae_pacs_associations_rejected_total",
            "counter",
            "Association requests that were rejected (PS3.8 Table 9-21).",
            ("reason",),
        ),
        Metric(
            "dae_pacs_unrecorded_instances",
            "gauge",
            "Objects that are kept and acknowledged, and whose rows in the ledger are still to come.",
        ),
        Metric("dae_pacs_unrecorded_bytes", "gauge", "Their bytes."),
        Metric("dae_pacs_unrecorded_age_seconds", "gauge", "For how long the oldest of them waits."),
        Metric("dae_pacs_ledger_writable", "gauge", "0 while the ledger can't be written: all is refused."),
        # Computing
        Metric("dae_pacs_jobs", "gauge", "Jobs (a series under a rule) by status.", ("status",)),
        Metric(
            "dae_pacs_job_oldest_age_seconds",
            "gauge",
            "Age of the oldest job that is ready and waits for a worker, from its last image; 0 without one.",
        ),
        Metric("dae_pacs_jobs_ended_total", "counter", "Runs of jobs: done, failed, given back.", ("how",)),
        Metric("dae_pacs_job_images_total", "counter", "Images of jobs: derived, rejected.", ("outcome",)),
        Metric(
            "dae_pacs_job_stage_seconds",
            "histogram",
            "Seconds of a job by stage (calibrate, decode, denoise, encode), and as a whole.",
            ("stage",),
        ),
        Metric("dae_pacs_job_wait_seconds", "histogram", "From a series' last image to its worker."),
        Metric("dae_pacs_worker_up", "gauge", "1 while a worker process lives."),
        Metric("dae_pacs_worker_starts_total", "counter", "Worker processes that were started."),
        Metric("dae_pacs_workers", "gauge", "Workers that there should be."),
        Metric("dae_pacs_workers_with_model", "gauge", "Workers that hold the model of the configuration."),
        Metric(
            "dae_pacs_cluster_up", "gauge", "0 while the cluster is away; only where there should be one."
        ),
        Metric("dae_pacs_model_loaded", "gauge", "1 while a worker holds the model of the configuration."),
        Metric("dae_pacs_model_info", "info", "The model in use.", ("name", "version", "digest")),
        Metric("dae_pacs_device_info", "info", "The device in use.", ("device",)),
        Metric(
            "dae_pacs_device_memory_bytes",
            "gauge",
            "Memory of the GPU: used and peak (of the worker), free and total.",
            ("kind",),
        ),
        # Delivering
        Metric(
            "dae_pacs_deliveries",
            "gauge",
            "Deliveries (an object owed to a destination) by status; dead ones were given up.",
            (*DESTINATION, "status"),
        ),
        Metric(
            "dae_pacs_delivery_oldest_age_seconds",
            "gauge",
            "Age of the oldest delivery that waits; 0 without one.",
            DESTINATION,
        ),
        Metric(
            "dae_pacs_sent_instances_total",
            "counter",
            "Objects that had their turn: sent, warning (taken), retry, dead.",
            (*DESTINATION, "outcome"),
        ),
        Metric("dae_pacs_sent_bytes_total", "counter", "Bytes that were taken.", DESTINATION),
        Metric(
            "dae_pacs_send_seconds", "histogram", "From an object's first byte to its answer.", DESTINATION
        ),
        Metric(
            "dae_pacs_send_failures_total",
            "counter",
            "Associations that could not be made or came to a bad end.",
            DESTINATION,
        ),
        Metric(
            "dae_pacs_destination_breaker",
            "gauge",
            "1 for the state that the destination's breaker is in: closed, paused, open, half open.",
            (*DESTINATION, "state"),
        ),
        Metric("dae_pacs_destination_failures", "gauge", "Failures in a row.", DESTINATION),
        Metric("dae_pacs_commitments_open", "gauge", "Storage commitments asked for.", DESTINATION),
        # The spool
        Metric("dae_pacs_instances", "gauge", "Objects in the ledger.", ("origin", "status")),
        Metric("dae_pacs_instances_bytes", "gauge", "Their bytes.", ("origin", "status")),
        Metric("dae_pacs_spool_free_bytes", "gauge", "Room on the spool's disk."),
        Metric("dae_pacs_spool_size_bytes", "gauge", "Size of the spool's disk."),
        Metric(
            "dae_pacs_spool_minimum_free_bytes",
            "gauge",
            "With less room than this, objects are refused (node.minimum_free_mb).",
        ),
        # The machine
        Metric(
            "dae_pacs_certificate_expiry_timestamp_seconds",
            "gauge",
            "When a certificate expires that the node shows, trusts or sees of a peer.",
            ("certificate",),
        ),
        Metric(
            "dae_pacs_process_resident_memory_bytes",
            "gauge",
            "Memory of each process: receive, worker (all of them together), web.",
            ("process",),
        ),
        Metric("dae_pacs_process_cpu_seconds_total", "counter", "Processor time of each.", ("process",)),
        Metric("dae_pacs_process_threads", "gauge", "Threads of each.", ("process",)),
        Metric("dae_pacs_process_open_fds", "gauge", "Open files of each.", ("process",)),
    )
}

_HEAD: Final = """\
# Metrics

<!-- Generated by `python -m dae_pacs.web.catalogue`; a test fails when stale. -->

`http://127.0.0.1:8104/metrics` speaks Prometheus' text format, and OpenMetrics where that is asked for. From
the machine itself it needs no account; a caller from elsewhere shows the token of `metrics.token_file`, and
without that setting gets nothing: [operate.md](operate.md). No label names a patient, a study, an object or
a caller; `destination` is a peer's name in the configuration.

Counters begin at zero when the node starts. Where the receiving process does not answer, `dae_pacs_up` is 0,
and what the console can tell without it, from the ledger and the disk, is still there. A label's value
appears when there is something to count.

| Metric | Kind | Labels | What it says |
|---|---|---|---|
"""


def reference(metrics: Mapping[str, Metric] = METRICS) -> str:
    """Write the page of docs/."""
    rows = (
        f"| `{metric.name}` | {metric.kind} | {', '.join(metric.labels)} | {metric.help} |\n"
        for metric in metrics.values()
    )
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    print(reference(), end="")
