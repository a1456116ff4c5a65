"""The ledger's records as tables, in the words of whoever keeps an archive."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from dae_pacs.node.catalogue import Series
from dae_pacs.spool.destinations import Breaker, DestinationState
from dae_pacs.spool.pulls import Pull, RuleState
from dae_pacs.spool.records import Delivery, Instance, Job
from dae_pacs.spool.report import Rejected, Study
from dae_pacs.spool.states import DeliveryStatus, InstanceStatus, JobStatus, Origin, PullStatus
from dae_pacs.spool.words import (
    DELIVERY_WORDS,
    breaker_words,
    duration,
    is_in_trouble,
    is_under_way,
    where,
)

_STYLES: Mapping[str, str] = {
    JobStatus.FAILED: "red",
    JobStatus.DONE: "green",
    JobStatus.RUNNING: "yellow",
    DeliveryStatus.DEAD: "red",
    DeliveryStatus.DELIVERED: "green",
    DeliveryStatus.SENDING: "yellow",
    DeliveryStatus.UNCOMMITTED: "yellow",
    Breaker.OPEN: "red",
    Breaker.HALF_OPEN: "yellow",
    Breaker.PAUSED: "yellow",
    Breaker.CLOSED: "green",
    InstanceStatus.QUARANTINED: "red",
    InstanceStatus.MISSING: "red",
    PullStatus.PULLED: "green",
    PullStatus.FAILED: "red",
}


def studies(rows: Iterable[Study]) -> Table:
    """List studies, each with where it stands."""
    table = _table("Studies", "Patient", "Accession", "Date", "Mod.", "Images", "Denoised", "Sent")
    table.add_column("Where it is", overflow="fold")
    for row in rows:
        sent = row.delivered_deliveries + row.uncommitted_deliveries
        owed = sent + row.waiting_deliveries + row.dead_deliveries
        _add(
            table,
            row.PatientID,
            row.AccessionNumber,
            row.StudyDate,
            row.modalities,
            row.received,
            row.derived,
            f"{sent}/{owed}" if owed else "",
            _above(Text(where(row), style=_style_of(row)), row.StudyInstanceUID),
        )
    return table


def jobs(title: str, rows: Iterable[Job]) -> Table:
    """List jobs: one output of one series under one rule each."""
    table = _table(title, "Job", "Status", "Priority", "Rule", "Output", "Model", "Images", "Tries", "Since")
    table.add_column("Reason", overflow="fold")
    for row in rows:
        _add(
            table,
            row.id,
            Text(row.status, style=_STYLES.get(row.status, "")),
            row.priority,
            row.rule or "",
            row.variant or "denoised",
            row.model,
            f"{row.image_count}/{row.expected_count}" if row.expected_count else row.image_count,
            row.attempts,
            ago(row.created_at),
            _above(Text(_printable(row.reason or "")), row.SeriesInstanceUID),
        )
    return table


def deliveries(title: str, rows: Iterable[Delivery]) -> Table:
    """Count deliveries by destination, status and trouble."""
    groups: dict[tuple[str, DeliveryStatus, str], list[Delivery]] = {}
    for row in rows:
        groups.setdefault((row.destination, row.status, row.error or row.warning or ""), []).append(row)
    table = _table(title, "Destination", "Status", "Objects", "Tries", "Next try")
    table.add_column("What the destination said", overflow="fold")
    for (destination, status, words), group in sorted(groups.items()):
        is_waiting = status is DeliveryStatus.WAITING
        _add(
            table,
            destination,
            Text(DELIVERY_WORDS[status], style=_STYLES.get(status, "")),
            len(group),
            max(row.attempts for row in group),
            soon(min(row.next_try_at for row in group)) if is_waiting else "",
            words,
        )
    return table


def destinations(rows: Iterable[DestinationState], *, configured: Collection[str]) -> Table:
    """Say how each destination stands: what it has and is owed, and whether it works."""
    table = _table(
        "Destinations", "Destination", "Waiting", "Sent", "Awaiting commitment", "Committed", "Given up"
    )
    table.add_column("State")
    table.add_column("Last error", overflow="fold")
    for row in rows:
        if row.name in configured:
            state = Text(_breaker_words(row), style=_STYLES[row.breaker])
        else:
            state = Text("not in the configuration", style="red")
        _add(
            table,
            row.name,
            row.waiting + row.sending,
            row.delivered + row.uncommitted,
            row.uncommitted,
            row.committed,
            row.dead,
            state,
            row.error or "",
        )
    return table


def _breaker_words(row: DestinationState) -> str:
    return breaker_words(
        row.breaker, row.failures, then=soon(row.next_try_at) if row.next_try_at is not None else ""
    )


def objects(rows: Sequence[Instance]) -> Table:
    """Count a study's objects by series and by what was decided about them."""
    groups = Counter(
        (
            row.origin,
            row.Modality,
            row.SeriesDescription,
            row.status,
            row.action,
            row.rule or "",
            row.reason or "",
        )
        for row in rows
    )
    table = _table("Objects", "Made by", "Mod.", "Series", "Status", "Action", "Rule", "Reason", "Objects")
    for (origin, modality, series, status, action, rule, reason), count in sorted(groups.items()):
        is_ours = origin is Origin.DERIVED
        _add(
            table,
            "dae-pacs" if is_ours else "sender",
            modality,
            series,
            Text(status.replace("_", " "), style=_STYLES.get(status, "")),
            "" if is_ours else action.replace("_", " "),
            rule,
            reason,
            count,
        )
    return table


def rejected(rows: Iterable[Rejected]) -> Table:
    """List images that could not be denoised."""
    table = _table("Images that could not be denoised", "Job", "SOP Instance UID", "Reason")
    for row in rows:
        _add(table, row.job_id, row.SOPInstanceUID, row.reason)
    return table


def pull_rules(rows: Iterable[RuleState]) -> Table:
    """Say how each pull rule stands: what waits, what came, and why it rests."""
    table = _table("Pull rules", "Rule", "Waiting", "Fetched", "Given up", "Last look", "Next try")
    table.add_column("What is the matter", overflow="fold")
    for row in rows:
        _add(
            table,
            row.name,
            row.waiting,
            row.pulled,
            Text(str(row.failed), style="red" if row.failed else ""),
            ago(row.looked_at) if row.looked_at else "never",
            soon(row.next_try_at) if row.failures else "",
            row.error or "",
        )
    return table


def pulls(rows: Iterable[Pull]) -> Table:
    """List the series of a study that a peer was asked for."""
    table = _table("Fetched from peers", "Peer", "Asked by", "Status", "Objects", "Tries", "Since")
    table.add_column("Why", overflow="fold")
    table.add_column("What is the matter", overflow="fold")
    for row in rows:
        _add(
            table,
            row.peer,
            row.rule or "a person",
            Text(row.status, style=_STYLES.get(row.status, "")),
            f"{row.arrived or 0}/{'?' if row.announced is None else row.announced}",
            row.attempts,
            ago(row.asked_at),
            _above(Text(_printable(row.reason)), row.SeriesInstanceUID),
            row.error or "",
        )
    return table


def fetchable(rows: Iterable[tuple[Series, int, int, bool]]) -> Table:
    """List series that a peer has: each with its number of objects, those here, and whether that is all."""
    table = _table(
        "Series", "Date", "Patient", "Name", "Mod.", "Body part", "Study", "Series", "Images", "Here"
    )
    for series, expected, held, is_whole in rows:
        here = "all" if is_whole else str(held or "")
        _add(
            table,
            series.StudyDate,
            series.PatientID,
            series.PatientName,
            series.Modality,
            series.BodyPartExamined,
            series.StudyDescription,
            series.SeriesDescription,
            expected or "?",
            Text(here, style="green" if is_whole else "yellow"),
        )
    return table


def totals(counts: Mapping[str, Mapping[str, int]]) -> str:
    """Sum up, and say what to do about what failed."""
    failed, dead = counts["jobs"].get(JobStatus.FAILED, 0), counts["deliveries"].get(DeliveryStatus.DEAD, 0)
    words = [
        f"{kind}: {_counted(counts[kind])}" for kind in ("instances", "jobs", "deliveries") if counts[kind]
    ]
    advice = "\nRequeue what failed with: dae-pacs retry" if failed or dead else ""
    advice += "\nOwe a destination no more what was given up: dae-pacs drop PEER" if dead else ""
    return "; ".join(words) + advice


def ago(moment: float) -> str:
    """Say how long ago a time was, in its largest unit."""
    return f"{duration(time.time() - moment)} ago"


def soon(moment: float) -> str:
    """Say how far away a time is, in its largest unit."""
    seconds = moment - time.time()
    return f"in {duration(seconds)}" if seconds > 0 else "now"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.items()))


def _style_of(study: Study) -> str:
    if is_in_trouble(study):
        return "red"
    return "yellow" if is_under_way(study) else "green"


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _above(words: Text, uid: str) -> Text:
    """Put a UID under what is said about it: beside it, 64 characters would leave no room for the rest."""
    return Text("\n" if words else "").join([*([words] if words else []), Text(_printable(uid), style="dim")])


def _add(table: Table, *cells: object) -> None:
    """Add a row; what came off the wire is text, never markup and never a control character."""
    table.add_row(*(cell if isinstance(cell, Text) else Text(_printable(str(cell))) for cell in cells))


def _printable(text: str) -> str:
    return "".join(mark if mark.isprintable() else "?" for mark in text)
