"""Group commit: what several threads want to have written goes to the disk in one flush."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dae_pacs.errors import SpoolError

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Entry(Generic[Item, Result]):
    """One thread's item, and what became of it."""

    item: Item
    results: list[Result]
    error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return bool(self.results) or self.error is not None


class GroupCommit(Generic[Item, Result]):
    """Commits items, each for its own thread; those that come while one commit runs share the next.

    There is no thread of its own and no waiting for company: who finds no commit under way commits at once.
    """

    def __init__(
        self, *, together: Callable[[Sequence[Item]], Sequence[Result]], alone: Callable[[Item], Result]
    ) -> None:
        """Set up.

        Args:
            together: commits several items, all or none; raises SpoolError where it commits none.
            alone: commits one item; used for one, and for each of several that failed together.
        """
        self._together = together
        self._alone = alone
        self._queue: list[_Entry[Item, Result]] = []
        self._queue_lock = threading.Lock()
        self._commit_lock = threading.Lock()

    def commit(self, item: Item) -> Result:
        """Commit an item, and return when it is durable; raises what `alone` raises."""
        entry = _Entry[Item, Result](item, [])
        with self._queue_lock:
            self._queue.append(entry)
        with self._commit_lock:
            if not entry.is_done:
                with self._queue_lock:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if entry.error is not None:
            raise entry.error
        return entry.results[0]

    def _commit(self, batch: list[_Entry[Item, Result]]) -> None:
        if len(batch) > 1:
            try:
                results = self._together([entry.item for entry in batch])
            except SpoolError:
                results = ()  # one of them may be at fault: each by itself
            for entry, result in zip(batch, results, strict=False):
                entry.results.append(result)
        for entry in batch:
            if not entry.is_done:
                try:
                    entry.results.append(self._alone(entry.item))
                except SpoolError as error:
                    entry.error = error
