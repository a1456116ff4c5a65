"""What was given to somebody over HTTP, for the audit trail; plain values that cross the console's pipe."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from dae_pacs.audit.events import Person, StudyOfPatient
from dae_pacs.node.auditing import Auditor

_AGAIN_S: Final = 300.0
"""A viewer asks for a study's frames one by one: each person's look at it is told once in so long."""
_MOST: Final = 1000


@dataclass(frozen=True)
class Viewed:
    """Write down that somebody was given objects of a study."""

    person: Person
    StudyInstanceUID: str
    PatientID: str
    sop_classes: Mapping[str, int]
    is_whole: bool
    """Whether whole objects were given, which is always told; else headers or frames."""
    answer: ClassVar = bool


class Viewings:
    """Tells the audit trail, once where many requests are one look; for any thread."""

    def __init__(self, audit: Auditor) -> None:
        self._audit = audit
        self._lock = threading.Lock()
        self._told: dict[tuple[Person, str, str], float] = {}

    def note(self, viewed: Viewed) -> bool:
        """Hear of one request."""
        study = StudyOfPatient(viewed.StudyInstanceUID, viewed.PatientID)
        if viewed.is_whole or self._is_new((viewed.person, viewed.StudyInstanceUID, viewed.PatientID)):
            self._audit.viewed(viewed.person, study, viewed.sop_classes)
        return True

    def _is_new(self, key: tuple[Person, str, str]) -> bool:
        now = time.monotonic()
        with self._lock:
            before = self._told.get(key)
            if before is not None and now - before < _AGAIN_S:
                return False
            self._told.pop(key, None)
            self._told[key] = now
            while len(self._told) > _MOST:
                self._told.pop(next(iter(self._told)))
        return True


def answers_of(audit: Auditor) -> Mapping[type, Callable[[Any], object]]:
    """List the answers to the console's requests."""
    return {Viewed: Viewings(audit).note}
