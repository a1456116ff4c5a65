import threading
from collections.abc import Iterator

import pytest

from dae_pacs.node import overlap
from dae_pacs.node.overlap import Behind, ahead, side_by_side

PATIENCE_S = 20.0


def test_items_come_in_order_and_one_is_taken_ahead():
    taken: list[int] = []
    third = threading.Event()

    def items() -> Iterator[int]:
        for k in range(5):
            taken.append(k)
            if k == 2:
                third.set()
            yield k

    seen = []
    for item in ahead(items()):
        seen.append(item)
        if item == 1:
            assert third.wait(PATIENCE_S), "the next is taken while this one is worked on"
            assert taken == [0, 1, 2], "and none beyond it"
    assert seen == [0, 1, 2, 3, 4]


def test_what_fails_ahead_is_raised_in_its_turn():
    def items() -> Iterator[int]:
        yield 1
        raise OSError("no such disk")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(OSError, match="no such disk"):
        next(coming)


def test_thread_ahead_ends_when_nobody_wants_more():
    before = threading.active_count()
    coming = ahead(iter(range(100)))
    next(coming)
    coming.close()
    assert threading.active_count() == before


def test_all_that_was_given_is_worked_on_in_order():
    seen: list[int] = []
    with Behind[int](seen.extend) as thread:
        for k in range(20):
            thread.give(k)
    assert seen == list(range(20))


def test_giving_waits_while_one_is_worked_on_and_one_waits():
    go, given = threading.Event(), []

    def work(items: Iterator[int]) -> None:
        for item in items:
            assert go.wait(PATIENCE_S)
            given.append(item)

    def give_all(thread: Behind[int]) -> None:
        for k in range(4):
            thread.give(k)
            count.append(k)

    count: list[int] = []
    with Behind[int](work) as thread:
        giver = threading.Thread(target=give_all, args=(thread,))
        giver.start()
        giver.join(0.5)
        assert giver.is_alive()
        assert len(count) <= 2
        go.set()
        giver.join(PATIENCE_S)
    assert given == [0, 1, 2, 3]


def test_failure_behind_is_raised_to_who_gives_and_nobody_waits_forever():
    def fail(items: Iterator[int]) -> None:
        next(items)
        raise OSError("the disk is full")

    def give_much() -> None:
        with Behind[int](fail) as thread:
            for k in range(1000):
                thread.give(k)

    with pytest.raises(OSError, match="full"):
        give_much()


def test_failure_after_the_last_item_is_raised_at_the_end():
    def fail(items: Iterator[int]) -> None:
        for _ in items:
            pass
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), Behind[int](fail) as thread:
        thread.give(1)


def test_failure_of_the_giver_counts_more_than_that_behind():
    def fail(items: Iterator[int]) -> None:
        for _ in items:
            pass
        raise OSError("cut short")

    def give_and_fail() -> None:
        with Behind[int](fail) as thread:
            thread.give(1)
            raise ValueError("the model")

    with pytest.raises(ValueError, match="the model"):
        give_and_fail()


def test_items_side_by_side_come_in_order_however_long_each_takes():
    second = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert second.wait(PATIENCE_S), "another is worked on meanwhile"
        if item == 1:
            second.set()
        return item * 10

    made = side_by_side(iter(range(6)), work, width=lambda _: 3, waiting=lambda: None)
    assert list(made) == [0, 10, 20, 30, 40, 50]


def test_no_more_items_are_taken_than_there_is_room_for():
    taken: list[int] = []
    go_on = threading.Event()

    def items() -> Iterator[int]:
        for k in range(8):
            taken.append(k)
            yield k

    def work(item: int) -> int:
        assert go_on.wait(PATIENCE_S)
        return item

    made = side_by_side(items(), work, width=lambda _: 3, waiting=go_on.set)
    overlap_word_s, overlap.WORD_S = overlap.WORD_S, 0.3
    try:
        assert next(made) == 0
    finally:
        overlap.WORD_S = overlap_word_s
    assert taken == [0, 1, 2, 3], "three at work, and the one that waits for room"
    assert list(made) == [1, 2, 3, 4, 5, 6, 7]


def test_room_for_one_means_this_thread():
    here = threading.get_ident()
    made = side_by_side(
        iter(range(3)), lambda _: threading.get_ident(), width=lambda _: 1, waiting=lambda: None
    )
    assert set(made) == {here}


def test_what_fails_side_by_side_is_raised_in_its_turn():
    def work(item: int) -> int:
        if item == 1:
            raise OSError("no such disk")
        return item

    made = side_by_side(iter(range(4)), work, width=lambda _: 3, waiting=lambda: None)
    assert next(made) == 0
    with pytest.raises(OSError, match="no such disk"):
        next(made)
