"""Host names of guests: looked up when it counts, seldom, and remembered while nobody answers."""

import ipaddress
import time

import pytest

from dae_pacs.dimse import hosts
from dae_pacs.dimse.access import Guest, GuestList
from dae_pacs.dimse.hosts import Hosts

HERE = ipaddress.ip_address("10.0.0.1")
THERE = ipaddress.ip_address("10.0.0.2")


class NameServer:
    """Answers with what a test says, and counts the questions."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0
        self.is_down = False

    def __call__(self, _name: str) -> list[str]:
        self.asked += 1
        if self.is_down:
            raise OSError("no answer")
        return self.addresses


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Stand in for the monotonic clock of this module: `clock[0] += 5`."""
    now = [1000.0]

    class Time:
        monotonic = staticmethod(lambda: now[0])

    monkeypatch.setattr(hosts, "time", Time)
    return now


def test_answer_is_taken_for_a_minute(clock: list[float]) -> None:
    server = NameServer("10.0.0.1")
    known = Hosts(server)
    assert all(known.has(["ct1"], HERE) for _ in range(100))
    clock[0] += 30
    assert known.has(["ct1"], HERE)
    assert server.asked == 1
    clock[0] += 31
    assert known.has(["ct1"], HERE)
    assert server.asked == 2


def test_stranger_makes_us_ask_once_a_second_at_most(clock: list[float]) -> None:
    server = NameServer("10.0.0.1")
    known = Hosts(server)
    assert not any(known.has(["ct1"], THERE) for _ in range(1000))
    assert server.asked == 1
    clock[0] += 1.5
    assert not known.has(["ct1"], THERE)
    assert server.asked == 2


def test_host_that_moved_is_found_at_once_and_its_old_address_is_not(clock: list[float]) -> None:
    server = NameServer("10.0.0.1")
    known = Hosts(server)
    assert known.has(["ct1"], HERE)
    server.addresses = ["10.0.0.2"]
    clock[0] += 2
    assert known.has(["ct1"], THERE)
    assert not known.has(["ct1"], HERE)


def test_last_answer_holds_while_the_name_server_is_down(clock: list[float]) -> None:
    server = NameServer("10.0.0.1")
    known = Hosts(server)
    assert known.has(["ct1"], HERE)
    server.is_down = True
    clock[0] += 3600
    assert known.has(["ct1"], HERE)
    assert not known.has(["ct1"], THERE)


def test_ipv4_caller_of_an_ipv6_listener_is_known_by_its_ipv4_address() -> None:
    guests = GuestList([Guest("a", ("CT",), ("10.1.0.0/16",))], called=["US"])
    for address, is_let_in in (("::ffff:10.1.2.3", True), ("10.1.2.3", True), ("::ffff:10.2.2.3", False)):
        refusal = guests.refusal(calling_ae="CT", called_ae="US", address=address)
        assert (refusal is None) is is_let_in


def test_link_local_caller_is_known_without_its_scope() -> None:
    guests = GuestList([Guest("a", ("CT",), ("fe80::/10",))], called=["US"])
    assert guests.refusal(calling_ae="CT", called_ae="US", address="fe80::1%eth0") is None


def test_look_up_of_the_system_finds_this_machine() -> None:
    started = time.monotonic()
    assert Hosts().has(["localhost"], ipaddress.ip_address("127.0.0.1"))
    assert not Hosts().has(["no-such-host.invalid"], HERE)
    assert time.monotonic() - started < 60
