"""Let the steps of a series run beside each other: one thread ahead of the work, one behind it.

Codecs, files and the network all let go of the GIL. At most one item waits on each side, so that memory does
not depend on how long a series is.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")

POLL_S = 0.2
"""How soon it is seen that the thread behind has failed while it was to be given more."""


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Take each item in a thread of its own while the one before it is worked on.

    What `items` raises is raised here, in its turn.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        coming: Future[tuple[T, bool]] = thread.submit(_next_of, items)
        while True:
            item, is_one = coming.result()
            if not is_one:
                return
            coming = thread.submit(_next_of, items)
            yield item


def _next_of(items: Iterator[T]) -> tuple[T, bool]:
    for item in items:
        return item, True
    return None, False  # type: ignore[return-value]  # nobody looks at it


def one_at_a_time(call: Callable[[T], None]) -> Callable[[T], None]:
    """Make a function of one argument that any thread may call."""
    lock = threading.Lock()

    def locked(argument: T) -> None:
        with lock:
            call(argument)

    return locked


class Behind(Generic[T]):
    """Owns a thread that works on what it is given, in order, one item waiting.

    Args:
        work: called once in the thread with an iterator over the items; it ends when the items do.
    """

    def __init__(self, work: Callable[[Iterator[T]], None]) -> None:
        self._items: queue.Queue[tuple[T] | None] = queue.Queue(maxsize=1)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._done = self._thread.submit(work, self._given())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all items are worked on; raise what the work raised, unless something else failed."""
        try:
            self._put(None)
        finally:
            self._thread.shutdown()
        if kind is None:
            self._done.result()

    def give(self, item: T) -> None:
        """Hand over an item; waits while another one waits. Raises what the work has raised."""
        self._put((item,))
        if self._done.done():
            self._done.result()

    def _put(self, item: tuple[T] | None) -> None:
        while not self._done.done():
            try:
                self._items.put(item, timeout=POLL_S)
            except queue.Full:
                continue
            return

    def _given(self) -> Iterator[T]:
        while (item := self._items.get()) is not None:
            yield item[0]
