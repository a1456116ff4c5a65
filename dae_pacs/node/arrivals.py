"""Look for the priors of what arrives: each arrival once, and none waits behind a patient that is refused.

What was looked for stands in the ledger as one place in the order of arrivals. It stays below the first
arrival that is not done; what is done beyond it, and who is put off, a restart forgets: that is asked again.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dae_pacs.config.pulls import Pull as Rule
from dae_pacs.dicomweb.client import WebStatusError
from dae_pacs.dimse.finding import FindRefusedError
from dae_pacs.dimse.identifiers import CharacterSetError
from dae_pacs.errors import PeerError
from dae_pacs.node import priors
from dae_pacs.node.catalogue import Listing, Series, Wanted
from dae_pacs.spool.pulls import Arrived, Pulls, pause_s

logger = logging.getLogger(__name__)

_AT_ONCE: Final = 20
_REFUSALS_IN_A_ROW: Final = 3
"""Of as many patients: then it is the peer that does not answer, and the whole rule rests."""
_GIVE_UP_S: Final = 86400.0
"""After a day the peer's mind will not change by itself."""


@dataclass(frozen=True)
class _PutOff:
    """A patient whose priors the peer does not tell for now."""

    since: float
    refusals: int
    until: float


class Arrivals:
    """What one pull rule has seen of what arrives; for its thread alone."""

    def __init__(
        self,
        rule: Rule,
        root: Path,
        pulls: Pulls,
        *,
        ask: Callable[[Wanted], Listing],
        wish: Callable[[tuple[Series, ...], str], int],
    ) -> None:
        """Begin where the ledger says that the rule is.

        Args:
            rule: which priors are wanted.
            root: the spool's folder.
            pulls: of the ledger.
            ask: asks the peer what it has.
            wish: notes what is to be fetched, and why.
        """
        self._rule = rule
        self._root = root
        self._pulls = pulls
        self._ask = ask
        self._wish = wish
        self._done: set[int] = set()
        """Beyond the place in the ledger."""
        self._put_off: dict[str, _PutOff] = {}
        """By patient."""

    def is_due(self) -> bool:
        """Tell whether there is an arrival whose priors may be looked for now."""
        return bool(self._due(limit=1))

    def look(self, may_go_on: Callable[[], bool]) -> None:
        """Look for the priors of some arrivals, those that came first before others.

        Raises:
            PeerError: nothing can be asked now; what was not looked for is looked for next time.
        """
        asked_for: set[priors.Call] = set()
        refused: set[str] = set()
        in_a_row = 0
        try:
            for arrived in self._due(limit=_AT_ONCE):
                if not may_go_on():
                    return
                call = priors.call_of(arrived, self._root, self._rule)
                if arrived.PatientID in refused:
                    continue
                if call is not None and call not in asked_for:
                    refusal = self._look_for(call)
                    in_a_row = in_a_row + 1 if refusal else 0
                    if refusal and self._is_put_off(arrived.PatientID, str(refusal)):
                        refused.add(arrived.PatientID)
                        if in_a_row >= _REFUSALS_IN_A_ROW:
                            raise refusal
                        continue
                    asked_for.add(call)
                self._done.add(arrived.id)
        finally:
            self._move_on()

    def _due(self, *, limit: int) -> list[Arrived]:
        now = time.monotonic()
        waiting = [patient for patient, one in self._put_off.items() if one.until > now]
        return self._pulls.arrivals(self._rule.name, limit=limit, done=self._done, without=waiting)

    def _look_for(self, call: priors.Call) -> PeerError | None:
        """Ask for the priors of what arrived; gives why the peer refuses this patient for now, where it does.

        Raises:
            PeerError: nothing can be asked now.
        """
        try:
            found = self._ask(call.wanted)
        except CharacterSetError as error:
            self._warn("priors not asked for", str(error))
        except (FindRefusedError, WebStatusError) as error:
            if error.may_spare_others:
                return error
            if not error.is_about_query:
                raise
            self._warn("priors not asked for", str(error))
        else:
            self._wish(priors.chosen(found.series, call, self._rule), f"prior of study {call.study}")
        self._put_off.pop(call.wanted.patient_id, None)
        return None

    def _is_put_off(self, patient: str, why: str) -> bool:
        """Put a patient off, ever longer; False where that has gone on long enough."""
        now = time.monotonic()
        before = self._put_off.pop(patient, _PutOff(now, 0, now))
        if now - before.since > _GIVE_UP_S:
            self._warn("priors not asked for", why)
            return False
        refusals = before.refusals + 1
        wait_s = pause_s(refusals)
        self._put_off[patient] = _PutOff(before.since, refusals, now + wait_s)
        self._warn("priors of a patient put off", why, seconds=round(wait_s))
        return True

    def _move_on(self) -> None:
        """Move the place in the ledger up to the first arrival that is not done."""
        if not self._done:
            return
        waiting = self._pulls.arrivals(self._rule.name, limit=1, done=self._done)
        below = waiting[0].id if waiting else max(self._done) + 1
        passed = {done for done in self._done if done < below}
        if passed:
            self._pulls.seen(self._rule.name, max(passed))
            self._done -= passed

    def _warn(self, words: str, why: str, **fields: object) -> None:
        told = {"rule": self._rule.name, "peer": self._rule.peer, "why": why}
        logger.warning(words, extra=told | fields)
