import itertools
import time

from dae_pacs.node import strangers
from dae_pacs.node.strangers import Strangers

Told = list[tuple[str, str, str]]


def knocking(monkeypatch) -> tuple[Strangers, Told, list[float]]:
    told: Told = []
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return Strangers(lambda *words: told.append(words)), told, clock


def test_the_first_is_told_at_once_and_the_rest_are_counted(monkeypatch) -> None:
    door, told, clock = knocking(monkeypatch)
    for _ in range(100):
        door.turned_away("X", "192.0.2.7", "not known")
    assert told == [("X", "192.0.2.7", "not known")]
    clock[0] += strangers.AGAIN_S
    door.turned_away("X", "192.0.2.7", "not known")
    assert told[1:] == [("X", "192.0.2.7", "not known; and 99 more like it")]


def test_each_caller_address_and_reason_is_told(monkeypatch) -> None:
    door, told, _ = knocking(monkeypatch)
    for caller in itertools.product(("X", "Y"), ("192.0.2.7", "192.0.2.8"), ("not known", "no TLS")):
        door.turned_away(*caller)
    assert len(told) == 8


def test_what_was_only_counted_is_told_at_the_end(monkeypatch) -> None:
    door, told, _ = knocking(monkeypatch)
    for _ in range(3):
        door.turned_away("X", "192.0.2.7", "not known")
    door.turned_away("Y", "192.0.2.7", "not known")
    door.close()
    assert told[2:] == [("X", "192.0.2.7", "not known; and 1 more like it")]


def test_made_up_callers_are_bounded(monkeypatch) -> None:
    door, told, clock = knocking(monkeypatch)
    for number in range(5000):
        door.turned_away(f"X{number}", "192.0.2.7", "not known")
    assert len(told) == 1001
    assert told[-1][2].startswith("more callers than are told apart")
    clock[0] += strangers.AGAIN_S
    door.turned_away("NEW", "192.0.2.7", "not known")
    assert told[-1][0] == "NEW"


def test_those_who_came_back_are_told_of_before_they_are_forgotten(monkeypatch) -> None:
    door, told, clock = knocking(monkeypatch)
    for number in range(1000):
        for _ in range(3):
            door.turned_away(f"X{number}", "192.0.2.7", "not known")
    assert len(told) == 1000
    clock[0] += strangers.AGAIN_S
    door.turned_away("NEW", "192.0.2.7", "not known")
    assert len(told) == 2001
    assert told[1000] == ("X0", "192.0.2.7", "not known; and 1 more like it")
