"""Write the reference of all statuses from the code's own tables: `docs/statuses.md`.

What an instance, a job and a delivery can be, and what a status of DIMSE or HTTP leads to.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import typer

from dae_pacs.cli import conformance_query
from dae_pacs.cli.conformance_words import ANSWERS, meaning, outcomes
from dae_pacs.cli.markdown import table
from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.states import TRANSITIONS, DeliveryStatus, ImageStatus, InstanceStatus, JobStatus
from dae_pacs.spool.words import DELIVERY_WORDS

_HEAD = """# Statuses

<!-- Generated from dae_pacs/dimse/statuses.py and dae_pacs/spool/states.py by
`python -m dae_pacs.cli.states`; a test fails when stale. -->

What `dae-pacs status`, the console and the ledger call things, and what an answer of the network leads to.
[Delivery](delivery.md) tells how a delivery goes on, the [conformance statement](conformance.md) the rest.
"""

INSTANCE_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        InstanceStatus.KEPT: "On disk, for a job, a delivery or a person.",
        InstanceStatus.PASSED_OVER: "On disk, and not to be denoised; the reason stands beside it.",
        InstanceStatus.QUARANTINED: "Set apart for a person: other bytes under a SOP Instance UID that was "
        "kept before.",
        InstanceStatus.REMOVED: "Deleted, when nothing was owed for it any more. Its row stays.",
        InstanceStatus.MISSING: "The ledger has it and the disk has not; seen at the start. Sending it again "
        "repairs it.",
    }
)
JOB_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        JobStatus.COLLECTING: "Its series is still arriving.",
        JobStatus.READY: "Complete, and waiting for the worker; or given back, for another attempt.",
        JobStatus.RUNNING: "In the worker.",
        JobStatus.DONE: "Its derived series is kept, and owed to its destinations. A late image "
        "opens it again.",
        JobStatus.FAILED: "Given up after `node.job_attempts`; `dae-pacs retry` begins anew.",
    }
)
IMAGE_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        ImageStatus.PENDING: "Not looked at yet.",
        ImageStatus.DERIVED: "Its derived image is kept.",
        ImageStatus.REJECTED: "It can't be denoised; the reason stands beside it. The others of its series "
        "go on.",
    }
)
DELIVERY_MEANINGS: Final[Mapping[str, str]] = MappingProxyType(
    {
        DeliveryStatus.WAITING: "Owed, and sent when its turn or the end of its pause has come.",
        DeliveryStatus.SENDING: "On an association, or in a request.",
        DeliveryStatus.UNCOMMITTED: "The destination said success, and has not promised yet to keep it "
        "(`peers.NAME.commitment`).",
        DeliveryStatus.DELIVERED: "The destination has it; committed, where that is asked for.",
        DeliveryStatus.DEAD: "It would fail again: somebody has to look. `dae-pacs retry`, or "
        "`dae-pacs drop`.",
        DeliveryStatus.DROPPED: "A person said that the destination need not have it.",
    }
)
BREAKER_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Breaker.CLOSED: "It works, as far as is known.",
        Breaker.PAUSED: "It has failed; it is tried again as before after a pause.",
        Breaker.OPEN: "It has failed `delivery.breaker_after` times in a row: nothing is sent for a while.",
        Breaker.HALF_OPEN: "The while is over: one object is tried.",
    }
)


def reference() -> str:
    """Give the reference as Markdown."""
    return "\n".join([_HEAD, *_ledger(), *_network()])


def _ledger() -> Iterator[str]:
    yield "## An object\n"
    yield from _machine("instance", INSTANCE_WORDS)
    yield "## A job: one series under one rule, for one derived series\n"
    yield from _machine("job", JOB_WORDS)
    yield "## An image of a job\n"
    yield from _machine("image", IMAGE_WORDS)
    yield "## A delivery: one object to one destination\n"
    yield from _machine("delivery", DELIVERY_MEANINGS)
    yield "## A destination\n"
    yield from table(
        ("State", "What it means"), [(f"`{one}`", words) for one, words in BREAKER_WORDS.items()]
    )


def _machine(kind: str, words: Mapping[str, str]) -> Iterator[str]:
    """Tell of each status what it means and what may follow, as `TRANSITIONS` says."""
    rows = []
    for status, following in TRANSITIONS[kind].items():
        shown = DELIVERY_WORDS.get(status, status) if isinstance(status, DeliveryStatus) else status
        name = f"`{status}`" if shown == status else f"`{status}`, shown as *{shown}*"
        rows.append((name, words[status], ", ".join(f"`{one}`" for one in sorted(following)) or "nothing"))
    yield from table(("Status", "What it means", "What may follow"), rows)


def _network() -> Iterator[str]:
    yield "## What the node answers to a C-STORE\n"
    answers = [(f"{status:04X}", meaning(status), words) for status, words in sorted(ANSWERS.items())]
    yield from table(("Status", "Meaning", "When"), answers)
    yield "A DICOMweb store request names the same reasons for each object (PS3.18 Table I.2-2).\n"
    yield "## What a destination's answer to our C-STORE leads to\n"
    yield from table(("Status", "Meaning", "What becomes of the delivery"), outcomes())
    yield "## What a peer's answer to a query or retrieval means\n"
    yield from table(("Status", "Meaning", "What follows"), conformance_query.outcomes())


if __name__ == "__main__":
    typer.echo(reference().rstrip("\n"))
