"""What `dae-pacs status` says of who was turned away, and of certificates."""

import time
from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dae_pacs.node.visitors import Report

_SHOWN = 10
"""Kinds of refused callers in a table; the file has more."""


def parts(report: Report | None) -> Iterator[RenderableType]:
    """Say what there is to say: nothing where nobody was refused and nothing needs attention."""
    if report is None:
        return
    for words in report.problems:
        yield Text(f"Attention: {words}", style="red")
    if report.accept == "anyone":
        yield Text('The node takes associations from anyone (node.accept = "anyone").', style="yellow")
    if report.refused:
        yield _refused(report)
    if report.certificates:
        yield _certificates(report)


def _refused(report: Report) -> Table:
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(report.started_at))
    title = f"Callers turned away since {since}: {report.turned_away}"
    table = _table(title, "Address", "AE title", "Times", "Last", "Why")
    for row in report.refused[:_SHOWN]:
        last = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.last_at))
        table.add_row(*map(Text, (row.address, row.calling_ae or "-", str(row.count), last, row.words)))
    return table


def _certificates(report: Report) -> Table:
    table = _table("Certificates", "Whose", "Subject", "Signed by", "Expires", "Days")
    for row in report.certificates:
        days = row.days_left
        cells = (row.whose, row.subject, row.issuer, f"{row.not_after:%Y-%m-%d}", f"{days:.0f}")
        table.add_row(*map(Text, cells), style="red" if days < 0 else None)
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(
        *columns,
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
