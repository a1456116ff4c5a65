"""Who may associate with the node, what the others hear, and that nothing of theirs is kept."""

import pytest
from stranger import association_request, data_set_of, small_ct

from dae_pacs.dimse.access import Guest, GuestList
from dae_pacs.dimse.entrance import Entrance, TurnedAway
from dae_pacs.dimse.hosts import Hosts

REJECTED = 0x03
CALLED = bytes((1, 1, 7))
CALLING = bytes((1, 1, 3))

LOOPBACK = Guest("senders.good", ("GOOD", "STRANGER"), ("127.0.0.1",))
"""Those who say in `still_works` that it does."""


@pytest.fixture
def guarded(open_gate):
    """Open a node that knows `LOOPBACK` and the guests that are named; it notes whom it turned away."""

    def start(*guests: Guest, called: tuple[str, ...] = ("DAE_PACS",), hosts: Hosts | None = None):
        noted: list[TurnedAway] = []
        listed = GuestList([LOOPBACK, *guests], called=called, hosts=hosts)
        gate = open_gate(Entrance(admit=listed.refusal, turned_away=noted.append))
        gate.noted = noted
        return gate

    return start


def answer(gate, **request):
    """Ask for an association, try to send at once without waiting, and give the first PDU that comes back."""
    stranger = gate.dial().send(association_request(**request))
    kind, body = stranger.next_pdu()
    return stranger, kind, body[1:]


def test_unknown_calling_title_is_rejected(guarded):
    gate = guarded()
    stranger, kind, reason = answer(gate, calling=b"NOBODY")
    assert (kind, reason) == (REJECTED, CALLING)
    assert stranger.is_closed()
    assert gate.noted == [TurnedAway("127.0.0.1", "NOBODY", "calling AE title not recognized")]
    gate.still_works()
    gate.settled(1)


def test_known_title_at_another_address_hears_what_an_unknown_one_hears(guarded):
    gate = guarded(Guest("senders.ct", ("CT1",), ("10.1.2.3", "10.1.3.0/24", "2001:db8::/32")))
    stranger, kind, reason = answer(gate, calling=b"CT1")
    assert (kind, reason) == (REJECTED, CALLING)
    assert stranger.is_closed()
    assert [who.words for who in gate.noted] == ["address not among those of the calling AE title"]
    gate.still_works()
    gate.settled(1)


def test_other_called_title_is_rejected(guarded):
    gate = guarded()
    _stranger, kind, reason = answer(gate, called=b"SOMEBODY")
    assert (kind, reason) == (REJECTED, CALLED)
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize(
    "titles",
    [{"called": b"DAE_PACS2"}, {"called": b"dae_pacs"}, {"called": b""}, {"called": b"DAE_PACS\\X"}],
    ids=["longer", "other case", "empty", "backslash"],
)
def test_titles_that_are_nearly_ours_are_rejected(guarded, titles):
    gate = guarded()
    _stranger, kind, reason = answer(gate, **titles)
    assert (kind, reason) == (REJECTED, CALLED)
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize(
    "calling", [b"", b"*", b"GOOD*", b"good", b"GOOD\x00X", b"\x00", b"GOO?", b"?" * 16], ids=repr
)
def test_titles_that_are_nearly_a_guests_are_rejected(guarded, calling):
    gate = guarded()
    _stranger, kind, reason = answer(gate, calling=calling)
    assert (kind, reason) == (REJECTED, CALLING)
    gate.still_works()
    gate.settled(1)


def test_objects_sent_behind_a_rejected_request_leave_nothing(guarded):
    gate = guarded()
    ds = small_ct()
    stranger = gate.dial().send(association_request(calling=b"NOBODY") + data_set_of(ds))
    kind, body = stranger.next_pdu()
    assert (kind, body[1:]) == (REJECTED, CALLING)
    assert stranger.is_closed()
    gate.still_works()
    gate.settled(1)


def test_four_hundred_rejections_lock_nobody_out(guarded):
    gate = guarded()
    for _ in range(400):
        stranger = gate.dial().send(association_request(calling=b"NOBODY"))
        assert stranger.next_pdu()[0] == REJECTED
        stranger.close()
    gate.still_works()
    assert len(gate.noted) == 400
    gate.settled(1)


@pytest.mark.parametrize(
    "guest",
    [
        Guest("a", ("CT*",), ("127.0.0.1",)),
        Guest("a", ("CT?",), ("127.0.0.0/8",)),
        Guest("a", ("MR1", "CT1"), ("10.0.0.1", "0.0.0.0/0")),
        Guest("a", ("*",), ("localhost",)),
    ],
    ids=["pattern", "network", "several", "host name"],
)
def test_guest_is_let_in_by_title_and_address(guarded, guest):
    gate = guarded(guest)
    stranger = gate.dial().associate(calling=b"CT1")
    ds = small_ct()
    assert stranger.store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
    stranger.release()
    assert gate.noted == []
    gate.settled(1)


def test_called_by_another_name_that_is_ours(guarded):
    gate = guarded(called=("DAE_PACS", "STAT*"))
    gate.dial().associate(called=b"STAT_DENOISE").release()
    _stranger, kind, reason = answer(gate, called=b"STA")
    assert (kind, reason) == (REJECTED, CALLED)
    gate.still_works()


def test_name_server_that_fails_lets_nobody_in_and_stops_nobody_else(guarded):
    def fails(_name: str) -> list[str]:
        raise OSError("no name server")

    gate = guarded(Guest("senders.ct", ("CT1",), ("ct1.hospital",)), hosts=Hosts(fails))
    _stranger, kind, reason = answer(gate, calling=b"CT1")
    assert (kind, reason) == (REJECTED, CALLING)
    gate.still_works()
    gate.settled(1)


def test_echo_alone_is_no_reason_to_let_a_stranger_in(guarded):
    gate = guarded()
    verification = [(1, "1.2.840.10008.1.1", ["1.2.840.10008.1.2"])]
    _stranger, kind, reason = answer(gate, calling=b"NOBODY", contexts=verification)
    assert (kind, reason) == (REJECTED, CALLING)
    gate.still_works()
