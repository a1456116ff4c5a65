"""Let the steps of a series run beside each other: one thread ahead of the work, one behind it.

Where the denoiser takes several batches at a time, several threads wait for them in between.
Codecs, files and the network all let go of the GIL. At most one item waits on each side, so that memory does
not depend on how long a series is.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")
Made = TypeVar("Made")

MOST_SIDE_BY_SIDE = 64
"""Each is a thread that sleeps until its batch is back, and a batch in memory."""
WORD_S = 5.0
"""How often somebody is told that a result is still waited for."""
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


def side_by_side(
    items: Iterator[T],
    work: Callable[[T], Made],
    *,
    width: Callable[[T], int],
    waiting: Callable[[], None],
) -> Iterator[Made]:
    """Work on several items at a time, each in a thread; give the results in the order of the items.

    What `items` or `work` raises is raised here, in its turn.

    Args:
        items: what to work on; the next one is taken when there is room for it.
        work: called in this thread where only one item is to be worked on at a time.
        width: how many items like this one may be at work, and finished ones waiting for their turn; at least
            1, at most `MOST_SIDE_BY_SIDE` is heeded.
        waiting: called every `WORD_S` while a result is waited for.
    """
    under_way: deque[Future[Made]] = deque()
    threads = ThreadPoolExecutor(MOST_SIDE_BY_SIDE, thread_name_prefix="beside")
    try:
        for item in items:
            most = min(width(item), MOST_SIDE_BY_SIDE)
            while under_way and (len(under_way) >= most or under_way[0].done()):
                yield _awaited(under_way.popleft(), waiting)
            if most == 1:
                yield work(item)
            else:
                under_way.append(threads.submit(work, item))
        while under_way:
            yield _awaited(under_way.popleft(), waiting)
    finally:
        threads.shutdown(cancel_futures=True)


def _awaited(future: Future[Made], waiting: Callable[[], None]) -> Made:
    while not wait([future], timeout=WORD_S).done:
        waiting()
    return future.result()


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
