"""`dae-pacs status`: where is my study?"""

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, RenderableType

from dae_pacs.audit.trail import waiting
from dae_pacs.cli import cluster, doors, tables
from dae_pacs.cli.failures import OK
from dae_pacs.cli.spool import open_ledger
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.node import cluster_watch, visitors
from dae_pacs.spool.destinations import DestinationState
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import Delivery
from dae_pacs.spool.states import DeliveryStatus, JobStatus

PIPE_COLUMNS = 200
"""The width of a table that goes to a file or another program, where there is no terminal to ask."""

MOST_DELIVERIES = 100_000
"""Deliveries that are looked at for the summary by destination."""


def run(*, config: Path | None, study: str | None, as_json: bool, limit: int) -> int:
    """Print what the ledger knows: of all studies what is new or stuck, of one study everything.

    Raises:
        ConfigError: settings are wrong.
        SpoolError: there is no ledger, it can't be used, or it has no such study.
    """
    settings = load(config)
    unwritten = waiting(settings.node.spool)
    report = None if study else visitors.read(settings.node.spool / visitors.FILE_NAME)
    away = cluster_watch.read(settings.node.spool / cluster_watch.FILE_NAME)
    with open_ledger(settings) as ledger:
        if as_json:
            facts = asdict(ledger.study_story(study)) if study else _facts(ledger, settings, limit, unwritten)
            if report is not None:
                facts["doors"] = asdict(report)
            if away is not None:
                facts["cluster"] = asdict(away)
            print(json.dumps(facts, default=str, indent=2, ensure_ascii=False))
            return OK
        shown = _one_study(ledger, study) if study else _all_studies(ledger, settings, limit)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PIPE_COLUMNS)
    for part in (*shown, *doors.parts(report), *cluster.parts(away)):
        console.print(part)
    for target, count in unwritten.items():
        words = f"Audit trail: {count} message(s) wait for its {target}; the node's log says why."
        console.print(words, style="red", markup=False)
    return OK


def _facts(ledger: Ledger, settings: Settings, limit: int, unwritten: dict[str, int]) -> dict[str, object]:
    return {
        "audit_messages_waiting": unwritten,
        "counts": ledger.counts(),
        "studies": [asdict(study) for study in ledger.studies(limit=limit)],
        "jobs": [asdict(job) for job in ledger.jobs(limit=limit)],
        "destinations": [
            asdict(state) | {"is_configured": state.name in settings.destinations}
            for state in _destinations(ledger, settings)
        ],
        "pulls": [asdict(rule) for rule in ledger.pulls.rules()],
        "deliveries": [asdict(delivery) for delivery in _undelivered(ledger)],
    }


def _destinations(ledger: Ledger, settings: Settings) -> list[DestinationState]:
    return ledger.outbox.states(now=time.time(), breaker_after=settings.delivery.breaker_after)


def _all_studies(ledger: Ledger, settings: Settings, limit: int) -> Iterable[RenderableType]:
    studies = ledger.studies(limit=limit)
    if not studies and not ledger.pulls.rules():
        return ["Nothing was received yet. Send a study to the node, or: dae-pacs send AE@host:port FILE"]
    unfinished = [
        job
        for status in JobStatus
        if status is not JobStatus.DONE
        for job in ledger.jobs(status=status, limit=limit)
    ]
    deliveries = _undelivered(ledger)
    parts: list[RenderableType] = [tables.studies(studies)]
    if unfinished:
        parts.append(tables.jobs("Jobs that are not done", unfinished))
    if deliveries:
        parts.append(tables.deliveries("Deliveries that are not done", deliveries))
    destinations = _destinations(ledger, settings)
    if destinations:
        parts.append(tables.destinations(destinations, configured=settings.destinations))
    rules = ledger.pulls.rules()
    if rules:
        parts.append(tables.pull_rules(rules))
    lost = [state.name for state in destinations if state.is_owed and state.name not in settings.destinations]
    advice = [
        f"{name} is not in the configuration: put it back under peers, or: dae-pacs drop {name}"
        for name in lost
    ]
    return [*parts, tables.totals(ledger.counts()), *advice]


def _one_study(ledger: Ledger, study: str) -> Iterable[RenderableType]:
    story = ledger.study_story(study)
    parts: list[RenderableType] = [tables.studies([story.study]), tables.objects(story.instances)]
    if story.jobs:
        parts.append(tables.jobs("Jobs", story.jobs))
    if story.rejected:
        parts.append(tables.rejected(story.rejected))
    if story.deliveries:
        parts.append(tables.deliveries("Deliveries", story.deliveries))
    if story.pulls:
        parts.append(tables.pulls(story.pulls))
    return parts


def _undelivered(ledger: Ledger) -> list[Delivery]:
    return [
        delivery
        for status in DeliveryStatus
        if status not in {DeliveryStatus.DELIVERED, DeliveryStatus.DROPPED}
        for delivery in ledger.deliveries(status=status, limit=MOST_DELIVERIES)
    ]
