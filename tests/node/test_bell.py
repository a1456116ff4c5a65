import threading
import time

from dae_pacs.node.bell import Bell


def test_ring_between_look_and_wait_is_not_missed():
    bell = Bell()
    heard = bell.heard()
    bell.ring()
    start = time.monotonic()
    bell.wait(heard, timeout_s=30)
    assert time.monotonic() - start < 10


def test_ring_wakes_every_waiter():
    bell = Bell()
    woken = []
    waiters = [threading.Thread(target=lambda: (bell.wait(0, 30), woken.append(1))) for _ in range(3)]
    for waiter in waiters:
        waiter.start()
    bell.ring()
    for waiter in waiters:
        waiter.join(10)
    assert len(woken) == 3
