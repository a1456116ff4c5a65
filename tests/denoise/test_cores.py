"""Threads that share the processor's cores."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dae_pacs.denoise.cores import Cores


@pytest.fixture
def threads():
    cores = torch.get_num_threads()
    with ThreadPoolExecutor(6) as pool:
        yield pool
    torch.set_num_threads(cores)


@pytest.mark.parametrize(("beside", "taken"), [(1, 4), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_no_more_than_allowed_compute_at_a_time_each_on_its_share(threads, beside, taken):
    cores, lock, inside = Cores(4), threading.Lock(), []
    most = 0

    def work(number: int) -> int:
        nonlocal most
        with cores.share(beside):
            with lock:
                inside.append(number)
                most = max(most, len(inside))
            time.sleep(0.02)
            with lock:
                inside.remove(number)
            return torch.get_num_threads()

    assert set(threads.map(work, range(12))) == {taken}
    assert most == min(beside, 6)


def test_one_that_fails_leaves_its_place(threads):
    cores = Cores(2)

    def fail() -> None:
        with cores.share(1):
            raise ValueError("made up")

    for _ in range(3):
        with pytest.raises(ValueError, match="made up"):
            threads.submit(fail).result(20)


def test_one_that_wants_all_waits_for_those_that_share(threads):
    cores, there, go_on = Cores(2), threading.Event(), threading.Event()

    def shared() -> None:
        with cores.share(2):
            there.set()
            go_on.wait(20)

    def alone() -> int:
        with cores.share(1):
            return torch.get_num_threads()

    first = threads.submit(shared)
    there.wait(20)
    second = threads.submit(alone)
    time.sleep(0.05)
    assert not second.done()
    go_on.set()
    first.result(20)
    assert second.result(20) == 2
