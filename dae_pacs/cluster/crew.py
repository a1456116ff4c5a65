"""The cluster's workers as one process of the node sees them: who is ready, and who gets the next batch."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from dae_pacs import __version__
from dae_pacs.cluster.link import Link, Worker, is_gone_for_good

logger = logging.getLogger(__name__)

EACH: Final = 2
"""Batches that one worker has from us at a time: one in work, and the next already there."""
ASK_AGAIN_S: Final = 1.0
LONGEST_ASK_AGAIN_S: Final = 30.0
WARM_S: Final = 60.0
"""How often a worker without work is spoken to, so that it knows that a node is there."""


@dataclass(eq=False)
class Mate:
    """One worker."""

    number: int
    handle: Worker
    is_ready: bool = False
    load: int = 0
    """Batches that it has from us."""
    models: set[str] = field(default_factory=set)
    """Digests of those that it has taken."""
    is_asked: bool = False
    """Whether an answer to hello is awaited."""
    ask_at: float = 0.0
    failures: int = 0
    refusal: str = ""
    """Why it is never given anything."""


class Crew:
    """Finds the workers, and keeps in touch with them. For one thread.

    Args:
        link: the connection.
        tell: given what is to be done when an answer came; it must do it in the crew's thread.
    """

    def __init__(self, link: Link, tell: Callable[[Callable[[], None]], None]) -> None:
        self._link = link
        self._tell = tell
        self._mates: dict[int, Mate] = {}
        self.room = 0
        """How many workers the cluster has room for, as of the last look."""

    @property
    def ready(self) -> int:
        """How many workers answer."""
        return sum(mate.is_ready for mate in self._mates.values())

    def look(self) -> None:
        """See who has come and gone, and ask who answers.

        Raises:
            BrokenLinkError: the cluster can't be asked.
        """
        now = time.monotonic()
        self.room = self._link.room()
        for number in range(self.room):
            if number not in self._mates:
                self._mates[number] = Mate(number, self._link.worker(number))
        for mate in list(self._mates.values()):
            if mate.number >= self.room and not mate.is_ready and not mate.load:
                del self._mates[mate.number]
            elif not mate.is_asked and now >= mate.ask_at and not mate.refusal:
                self._ask(mate)

    def _ask(self, mate: Mate) -> None:
        mate.is_asked = True
        self._link.call(
            mate.handle.hello, then=lambda answer: self._tell(lambda: self._answered(mate, answer))
        )

    def _answered(self, mate: Mate, answer: object) -> None:
        mate.is_asked = False
        if answer == __version__:
            mate.is_ready, mate.failures, mate.ask_at = True, 0, time.monotonic() + WARM_S
        elif isinstance(answer, str):
            mate.refusal = (
                f"a worker has dae-pacs {answer}, and this node {__version__}: install the same on both"
            )
            logger.error("worker not used", extra={"why": mate.refusal})
        else:
            self.lost(mate, answer)

    def lost(self, mate: Mate, failure: object) -> None:
        """Note that a worker did not answer; what it held is gone."""
        mate.is_ready = False
        mate.models.clear()
        mate.failures += 1
        pause_s = min(ASK_AGAIN_S * 2.0 ** (mate.failures - 1), LONGEST_ASK_AGAIN_S)
        mate.ask_at = time.monotonic() + pause_s
        if is_gone_for_good(failure) and self._mates.get(mate.number) is mate and mate.failures > 1:
            del self._mates[mate.number]
        logger.info("worker away", extra={"worker": mate.number, "error": type(failure).__name__})

    def choose(self, digest: str) -> Mate | None:
        """Give the worker that gets the next batch: one with room, rather one that has the model."""
        free = [mate for mate in self._mates.values() if mate.is_ready and mate.load < EACH]
        return min(free, key=lambda mate: (mate.load, digest not in mate.models), default=None)

    def end(self, mate: Mate) -> None:
        """Kill a worker that hangs; the cluster starts it again."""
        self._link.end(mate.handle)

    def refusals(self) -> Iterator[str]:
        """Say why workers that are there are not used."""
        return (mate.refusal for mate in self._mates.values() if mate.refusal)
