"""Seconds by stage, of several threads."""

import threading
import time

import pytest

from dae_pacs.node.stopwatch import Stopwatch


def test_stage_within_a_stage_counts_for_itself_alone():
    clock, started = Stopwatch(), time.perf_counter()
    with clock.stage("outer"):
        time.sleep(0.02)
        with clock.stage("inner"):
            time.sleep(0.2)
        time.sleep(0.02)
    whole = time.perf_counter() - started
    assert clock.seconds["inner"] >= 0.2
    assert clock.seconds["outer"] + clock.seconds["inner"] <= whole
    assert clock.seconds["outer"] >= 0.04


def test_threads_in_one_stage_at_a_time_are_counted_once():
    clock, all_there, started = Stopwatch(), threading.Barrier(4), time.perf_counter()

    def work() -> None:
        with clock.stage("denoise"):
            all_there.wait(30)
            time.sleep(0.1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.1 <= clock.seconds["denoise"] <= time.perf_counter() - started


def test_stage_that_fails_is_counted_and_left():
    clock = Stopwatch()
    with pytest.raises(ValueError, match="made up"), clock.stage("decode"):
        raise ValueError("made up")
    with clock.stage("encode"):
        time.sleep(0.01)
    assert set(clock.seconds) == {"decode", "encode"}
