"""Times, dates and states as templates write them; a page's script keeps up what depends on the moment."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from markupsafe import Markup

from dae_pacs.spool import words
from dae_pacs.spool.states import DeliveryStatus, InstanceStatus, JobStatus, Origin


def clock(seconds: float) -> str:
    """Write a time of day, with its date where that is not today."""
    moment = datetime.fromtimestamp(seconds).astimezone()
    is_today = moment.date() == datetime.now().astimezone().date()
    return f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d %H:%M}"


def ago(seconds: float) -> Markup:
    """Write a moment that is over: "2 min ago" where scripts run."""
    return _marked(seconds, "ago", "at")


def since(seconds: float) -> Markup:
    """Write since when something lasts: "for 2 min" where scripts run."""
    return _marked(seconds, "for", "since")


def soon(seconds: float) -> Markup:
    """Write a moment that is to come: "in 2 min" where scripts run."""
    return _marked(seconds, "in", "at")


def _marked(seconds: float, form: str, before: str) -> Markup:
    return Markup('<time datetime="{}" data-{}="{}">{} {}</time>').format(
        datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds"),
        form,
        f"{seconds:.0f}",
        before,
        clock(seconds),
    )


def shortened(text: str, length: int) -> str:
    """Cut a text off where it is longer than there is room for."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def dicomdate(value: str) -> str:
    """Write a DA of DICOM (YYYYMMDD) as people do; anything else as it is."""
    is_date = len(value) == 8 and value.isdecimal()
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if is_date else value or "–"


def datefield(value: str) -> str:
    """Write a DA as a date field of a form has it."""
    return dicomdate(value) if value else ""


FILTERS: dict[str, Callable[..., object]] = {
    "clock": clock,
    "ago": ago,
    "since": since,
    "soon": soon,
    "shortened": shortened,
    "dicomdate": dicomdate,
    "datefield": datefield,
}
GLOBALS: dict[str, Any] = {  # Any: names of all kinds
    "now": time.time,
    "where": words.where,
    "is_in_trouble": words.is_in_trouble,
    "is_under_way": words.is_under_way,
    "breaker_words": words.breaker_words,
    "JobStatus": JobStatus,
    "DeliveryStatus": DeliveryStatus,
    "InstanceStatus": InstanceStatus,
    "Origin": Origin,
}
