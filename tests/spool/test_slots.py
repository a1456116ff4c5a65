"""Files made ahead: taken, filled, left to the next node; nothing but speed depends on them."""

import time

import pytest

from dae_pacs.spool import slots as module
from dae_pacs.spool.slots import Slots, is_blank


@pytest.fixture
def slow_disk(monkeypatch):
    monkeypatch.setattr(module, "_QUICK_FLUSH_S", 0.0)
    monkeypatch.setattr(module, "_IDLE_S", 0.02)
    monkeypatch.setattr(module, "_MOST", 8)


@pytest.fixture
def slots(tmp_path, slow_disk):
    made = Slots(tmp_path)
    yield made
    made.stop()


def await_files(folder, count, *, size_bytes=0):
    deadline = time.monotonic() + 20
    while sum(path.stat().st_size >= size_bytes for path in folder.iterdir()) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def await_slot(slots):
    deadline = time.monotonic() + 20
    while (path := slots.take()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return path


def test_no_file_is_made_before_the_start_or_where_the_disk_is_quick(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_QUICK_FLUSH_S", 60.0)
    slots = Slots(tmp_path)
    assert slots.take() is None
    slots.start()
    assert slots.take() is None
    slots.stop()
    assert list(tmp_path.iterdir()) == []


def test_each_file_is_given_once_and_made_again(slots, tmp_path):
    slots.start()
    taken = [await_slot(slots) for _ in range(20)]
    assert len(set(taken)) == 20
    assert all(path.parent == tmp_path for path in taken)


def test_room_is_made_for_objects_of_the_size_that_comes(slots, tmp_path):
    slots.note_size(100_000)
    slots.start()
    await_files(tmp_path, 8, size_bytes=100_000)
    path = await_slot(slots)
    assert path.stat().st_size == 131_072
    assert is_blank(path)


def test_what_an_earlier_node_left_is_taken_over_unless_something_is_in_it(tmp_path, slow_disk):
    first = Slots(tmp_path)
    first.start()
    await_files(tmp_path, 8)
    first.stop()
    used = next(tmp_path.iterdir())
    used.write_bytes(bytes(600) + b"a patient")
    second = Slots(tmp_path)
    second.start()
    try:
        given = {await_slot(second) for _ in range(7)}
    finally:
        second.stop()
    assert used not in given
    assert used.exists()
