"""What crosses the desk: answers, and errors in their words and class; one that is lost is told, too."""

import multiprocessing
import os
import socket
import threading
import time
from dataclasses import dataclass
from typing import ClassVar

import pytest

from dae_pacs.audit.events import Person
from dae_pacs.errors import DaePacsError, RejectedError, ServiceError, SpoolError
from dae_pacs.node.acting import Echo
from dae_pacs.node.desk import CALLS, NodeDesk
from dae_pacs.web.desk import Desk


@dataclass(frozen=True)
class Doubled:
    number: int
    answer: ClassVar = int


@dataclass(frozen=True)
class Unheard:
    answer: ClassVar = int


@pytest.fixture
def pipes():
    ours, theirs = multiprocessing.Pipe()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def ask(pipes):
    """Have a node answer in one way: `ask(answer)` gives the asking side."""
    opened = []

    def open_desk(answer) -> Desk:
        ours, theirs = pipes
        node = NodeDesk({Doubled: answer})
        node.serve(ours)
        desk = Desk(theirs)
        listening = threading.Thread(target=desk.listen)
        listening.start()
        opened.append((node, listening))
        return desk

    yield open_desk
    for node, listening in opened:
        with socket.socket(fileno=os.dup(pipes[1].fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)  # whoever listens, on either side, finds an end
        listening.join(5)
        node.close()


def test_many_ask_at_once_and_each_gets_its_own_answer(ask):
    def answer(request):
        time.sleep(0.001 * (request.number % 5))
        return 2 * request.number

    desk, got = ask(answer), {}
    threads = [threading.Thread(target=lambda n=n: got.update({n: desk.ask(Doubled(n))})) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == {n: 2 * n for n in range(50)}


@pytest.mark.parametrize(
    ("error", "arrives", "words"),
    [
        (SpoolError("no such study"), SpoolError, "no such study"),
        (RejectedError("not here", is_permanent=True), DaePacsError, "not here"),
        (OSError(28, "No space left on device"), DaePacsError, "No space left"),
        (
            KeyError("a patient's name"),
            DaePacsError,
            "^Unexpected KeyError; the node's log has",
        ),
    ],
)
def test_error_arrives_as_words(ask, error, arrives, words):
    def answer(_request):
        raise error

    with pytest.raises(arrives, match=words):
        ask(answer).ask(Doubled(1))


def test_unknown_request_and_wrong_answer_are_told(ask):
    desk = ask(lambda _request: "two")
    with pytest.raises(DaePacsError, match="no answer to Unheard"):
        desk.ask(Unheard())
    with pytest.raises(ServiceError, match="no int"):
        desk.ask(Doubled(1))


def test_node_that_does_not_answer_in_time_is_told(ask):
    slow = threading.Event()
    desk = ask(lambda _request: slow.wait(20) or 1)
    with pytest.raises(ServiceError, match="did not answer within 0 s"):
        desk.ask(Doubled(1), timeout_s=0.1)
    slow.set()


def test_calls_to_machines_that_do_not_answer_hold_up_nothing_else_and_not_the_end(pipes):
    ours, theirs = pipes
    never, arrived = threading.Event(), threading.Semaphore(0)

    def call(_request):
        arrived.release()
        never.wait(60)
        return 1.0

    node = NodeDesk({Doubled: lambda request: 2 * request.number, Echo: call})
    node.serve(ours)
    desk = Desk(theirs)
    listening = threading.Thread(target=desk.listen)
    listening.start()
    echo = Echo("slow", Person("jane", "127.0.0.1"))
    calls = [threading.Thread(target=lambda: desk.ask(echo, timeout_s=30)) for _ in range(CALLS)]
    for thread in calls:
        thread.start()
    for _ in calls:
        assert arrived.acquire(timeout=10)
    assert desk.ask(Doubled(2), timeout_s=10) == 4
    with pytest.raises(ServiceError, match="being called already"):
        desk.ask(echo, timeout_s=10)
    closing = threading.Thread(target=node.close)
    closing.start()
    closing.join(10)
    assert not closing.is_alive()
    never.set()
    for thread in calls:
        thread.join(10)
    with socket.socket(fileno=os.dup(theirs.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
    listening.join(5)


def test_request_that_gets_no_thread_is_refused_in_words_and_the_next_one_is_answered(ask, monkeypatch):
    done = []
    desk = ask(lambda request: done.append(request.number) or 2 * request.number)
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("desk_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patched:  # of the system's, which can't be starved for one thread alone
        patched.setattr(threading.Thread, "start", refuse)
        for number in (1, 2):
            with pytest.raises(ServiceError, match="no thread to spare; nothing was done"):
                desk.ask(Doubled(number), timeout_s=10)
    assert desk.ask(Doubled(3), timeout_s=10) == 6
    assert done == [3]


def test_request_to_a_closed_desk_is_refused_in_words_each_time(pipes):
    ours, theirs = pipes
    node = NodeDesk({Doubled: lambda request: 2 * request.number})
    node.serve(ours)
    desk = Desk(theirs)
    listening = threading.Thread(target=desk.listen)
    listening.start()
    assert desk.ask(Doubled(1), timeout_s=10) == 2
    node.close()
    for _ in range(2):
        with pytest.raises(ServiceError, match="is stopping"):
            desk.ask(Doubled(1), timeout_s=10)
    with socket.socket(fileno=os.dup(theirs.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)
    listening.join(5)


def test_node_that_ended_is_told(pipes):
    ours, theirs = pipes
    desk = Desk(theirs)
    ours.close()
    desk.listen()
    with pytest.raises(ServiceError, match="has ended"):
        desk.ask(Doubled(1))
