"""Write down who looks at which study: once for each account, study and session (PS3.15 A.5.3.6)."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST_HELD: Final = 20_000
"""Sessions and studies that are remembered; what is forgotten is written down once more."""


class Accesses:
    """Owns the memory of what was told; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def note(self, name: str, session: str, *, study: int, tell: Callable[[], object]) -> None:
        """See that the node knows who looks at a study, before a pixel of it leaves.

        Args:
            name: of the account.
            session: tells one session of that account from another.
            study: its number in the ledger.
            tell: tells the node; what it raises is raised here, and nothing is shown.
        """
        key = (name, session, study)
        with self._lock:
            if key in self._told:
                return
        tell()
        with self._lock:
            self._told[key] = None
            while len(self._told) > _MOST_HELD:
                self._told.popitem(last=False)
