"""Who came to the door: whom we turned away, and whose certificates we saw; as a file for `dae-pacs status`.

It counts since the node's start, and holds a bounded number of entries: a stranger who calls under ever new
titles fills neither memory nor disk.
"""

import json
import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from dae_pacs.dimse.certificates import Certificate
from dae_pacs.dimse.entrance import TurnedAway

logger = logging.getLogger(__name__)

Key = TypeVar("Key")
Entry = TypeVar("Entry")

FILE_NAME: Final = "doors.json"
"""In the spool's folder."""
_MOST: Final = 100
"""Entries of each kind; the one that was quiet longest makes room."""
_TITLE_CHARACTERS: Final = 16


@dataclass(frozen=True)
class Refused:
    """A kind of caller that was turned away."""

    address: str
    calling_ae: str
    words: str
    count: int
    last_at: float


@dataclass(frozen=True)
class Shown:
    """A certificate: ours, one that we trust, or one that was shown to us."""

    whose: str
    subject: str
    issuer: str
    not_after: datetime
    fingerprint: str

    @property
    def days_left(self) -> float:
        """Days until it expires; below zero when it has."""
        return (self.not_after - datetime.now(UTC)).total_seconds() / 86400


@dataclass(frozen=True)
class Report:
    """What `dae-pacs status` says of the doors."""

    accept: str
    """Who is let in: `peers` or `anyone`."""
    started_at: float
    turned_away: int
    refused: tuple[Refused, ...] = ()
    certificates: tuple[Shown, ...] = ()
    problems: tuple[str, ...] = ()
    """What a person should see to, in words."""


class Visitors:
    """Counts callers; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused: dict[tuple[str, str, str], Refused] = {}
        self._shown: dict[str, Shown] = {}
        self.turned_away_count = 0

    def turned_away(self, who: TurnedAway) -> None:
        """Count a caller that was not let in."""
        key = (who.address, who.calling_ae[:_TITLE_CHARACTERS], who.words)
        with self._lock:
            self.turned_away_count += 1
            before = self._refused.pop(key, None)
            count = before.count + 1 if before else 1
            self._refused[key] = Refused(*key, count=count, last_at=time.time())
            _shorten(self._refused)

    def certificate_seen(self, whose: str, certificate: Certificate) -> None:
        """Note a certificate that somebody showed."""
        with self._lock:
            self._shown.pop(certificate.fingerprint, None)
            self._shown[certificate.fingerprint] = shown(whose, certificate)
            _shorten(self._shown)

    def refused(self) -> tuple[Refused, ...]:
        """Give those that were turned away, the last one first."""
        with self._lock:
            return tuple(reversed(self._refused.values()))

    def certificates(self) -> tuple[Shown, ...]:
        """Give the certificates that were shown, the last one first."""
        with self._lock:
            return tuple(reversed(self._shown.values()))


def shown(whose: str, certificate: Certificate) -> Shown:
    """Say whose a certificate is."""
    return Shown(
        whose, certificate.subject, certificate.issuer, certificate.not_after, certificate.fingerprint
    )


def write(path: Path, report: Report) -> None:
    """Put the report where `read` finds it; a disk that refuses costs the report alone."""
    part = path.with_suffix(".part")
    try:
        part.write_text(json.dumps(asdict(report), default=datetime.isoformat), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        logger.debug("report on the doors not written", extra={"error": error.strerror or str(error)})
        with suppress(OSError):
            part.unlink()


def read(path: Path) -> Report | None:
    """Read the report of a node, running or not; None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        report = Report(**found)
        return replace(
            report,
            refused=tuple(Refused(**entry) for entry in found["refused"]),
            certificates=tuple(_dated(found["certificates"])),
            problems=tuple(found["problems"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _dated(entries: Iterable[dict[str, Any]]) -> Iterable[Shown]:  # Any: what JSON holds
    for entry in entries:
        yield Shown(**{**entry, "not_after": datetime.fromisoformat(entry["not_after"])})


def _shorten(entries: dict[Key, Entry]) -> None:
    while len(entries) > _MOST:
        entries.pop(next(iter(entries)))
