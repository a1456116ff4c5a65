"""Turns: a few work, a few wait, the others are refused."""

import threading

import pytest
from starlette.exceptions import HTTPException

from dae_pacs.web.turns import Turns


def test_one_too_many_is_refused_and_one_who_waits_gets_the_next_turn():
    turns = Turns(at_once=1, waiting=1, patience_s=30)
    is_through = threading.Event()

    def wait():
        with turns.taken():
            is_through.set()

    with turns.taken():
        waiter = threading.Thread(target=wait)
        waiter.start()
        while turns._line.acquire(blocking=False):  # until the waiter stands in the line
            turns._line.release()
        with pytest.raises(HTTPException) as refused, turns.taken():
            pass
        assert refused.value.status_code == 503
        assert not is_through.is_set()
    assert is_through.wait(10)
    waiter.join(10)


def test_patience_ends():
    turns = Turns(at_once=1, waiting=1, patience_s=0.01)
    with turns.taken():
        for _ in range(3):
            with pytest.raises(HTTPException), turns.taken():
                pass
    with turns.taken():
        pass
