"""What a stranger may do before an association stands, and what then happens to everybody else."""

import resource
import struct
import time
from pathlib import Path

import pytest
from stranger import (
    COMMAND,
    CT,
    EXPLICIT,
    LAST,
    association_request,
    echo_command,
    item,
    pdu,
    pdv,
)


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def test_twelve_sockets_of_three_bytes_lock_nobody_out(gate):
    strangers = [gate.dial().send(b"\x01\x00\x00") for _ in range(12)]
    gate.still_works()
    assert all(stranger.is_closed() for stranger in strangers)
    gate.settled(1)


def test_two_hundred_silent_sockets_lock_nobody_out(open_gate):
    gate = open_gate(association_timeout_s=30.0)
    strangers = [gate.dial() for _ in range(200)]
    gate.still_works()
    assert strangers[0].is_closed(), "the oldest make room"
    gate.settled(1)


def test_partial_association_request_is_dropped_at_its_deadline(gate):
    started = time.monotonic()
    stranger = gate.dial().send(association_request()[:60])
    gate.still_works()
    assert stranger.is_closed()
    assert time.monotonic() - started < 2
    gate.settled(1)


def test_association_request_a_byte_at_a_time_is_dropped_at_its_deadline(gate):
    request = association_request()
    single = [request[number : number + 1] for number in range(len(request))]
    assert gate.dial().trickle(*single, pause_s=0.05) < 4
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize("kind", [0x01, 0x04])
def test_announced_four_gigabytes_cost_no_memory_before_an_association(gate, kind):
    before = memory_mb()
    stranger = gate.dial().send(pdu(kind, bytes(1000), length=0xFFFFFFFE))
    assert stranger.abort_source_and_reason() == (0, 0)
    assert memory_mb() - before < 16
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize("kind", [0x00, 0x08, 0x42, 0xFF])
def test_unknown_pdu_before_an_association_is_aborted_at_once(gate, kind):
    stranger = gate.dial().send(pdu(kind, bytes(4)))
    assert stranger.abort_source_and_reason() == (0, 0)
    assert stranger.is_closed()
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize("kind", [0x02, 0x03, 0x04, 0x05, 0x06])
def test_pdu_out_of_place_before_an_association_is_aborted(gate, kind):
    assert gate.dial().send(pdu(kind, bytes(4))).abort_source_and_reason() == (0, 0)
    gate.still_works()
    gate.settled(1)


def test_abort_before_an_association_closes_without_a_word(gate):
    assert gate.dial().send(pdu(0x07, bytes(4))).is_closed()
    gate.still_works()
    gate.settled(1)


def test_web_browser_is_aborted(gate):
    stranger = gate.dial().send(b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n")
    assert stranger.abort_source_and_reason() == (0, 0)
    gate.still_works()
    gate.settled(1)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(10),
        bytes(68),
        struct.pack(">Hxx", 1) + b"A" * 32 + bytes(32) + b"\x10\x00\xff\xff",
        struct.pack(">Hxx", 1) + b"A" * 32 + bytes(32) + item(0x20, b"\x01"),
        struct.pack(">Hxx", 1) + b"A" * 32 + bytes(32) + item(0x50, item(0x51, b"\x01")),
        struct.pack(">Hxx", 1) + b"A" * 32 + bytes(32) + item(0x20, b"\x02\x00\x00\x00" + item(0x30, b"1.2")),
    ],
    ids=[
        "empty",
        "short",
        "no items",
        "item too long",
        "context cut",
        "maximum length cut",
        "even context ID",
    ],
)
def test_malformed_association_request_is_answered_and_closed(gate, body):
    stranger = gate.dial().send(pdu(0x01, body))
    kind, _body = stranger.next_pdu()
    assert kind in {0x03, 0x07}, "rejected or aborted"
    assert stranger.is_closed()
    gate.still_works()
    gate.settled(1)


def test_other_protocol_version_is_rejected(gate):
    kind, body = gate.dial().send(association_request(version=2)).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((1, 2, 2)))
    gate.still_works()
    gate.settled(1)


def test_other_application_context_is_rejected(gate):
    kind, body = gate.dial().send(association_request(application_context="1.2.3")).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((1, 1, 2)))
    gate.still_works()
    gate.settled(1)


def test_association_above_the_limit_is_rejected_and_its_end_makes_room(open_gate):
    gate = open_gate(max_associations=2, network_timeout_s=5.0)
    held = [gate.dial().associate() for _ in range(2)]
    kind, body = gate.dial().send(association_request()).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((2, 3, 2)))
    for stranger in held:
        stranger.release()
    time.sleep(0.1)
    gate.still_works()
    gate.settled(1)


def test_one_address_can_not_take_every_place(open_gate):
    gate = open_gate(max_associations=5, max_associations_per_address=2, network_timeout_s=5.0)
    held = [gate.dial().associate() for _ in range(2)]
    kind, body = gate.dial().send(association_request()).next_pdu()
    assert (kind, body[1:]) == (0x03, bytes((2, 3, 2)))
    held[0].release()
    time.sleep(0.1)
    gate.still_works()
    gate.settled(1)


def test_titles_that_are_none_are_taken_and_become_harmless(gate, caplog):
    caplog.set_level("INFO", logger="dae_pacs")
    gate.dial().associate(calling=b"\n\xff\\' OR 1=1", called=b"").release()
    title = next(record.calling_ae for record in caplog.records if hasattr(record, "calling_ae"))
    assert title == "???' OR 1=1"
    gate.still_works()
    gate.settled(1)


def test_asynchronous_window_is_not_granted_and_pipelined_echoes_are_answered_in_order(gate):
    window = item(0x53, struct.pack(">HH", 0, 0))
    stranger = gate.dial().send(association_request(user_items=window))
    kind, body = stranger.next_pdu()
    assert kind == 0x02
    assert item(0x53, struct.pack(">HH", 0, 0)) not in body, "no answer means one operation at a time"
    for number in (11, 12, 13):
        stranger.data(pdv(3, COMMAND | LAST, echo_command(message_id=number)))
    assert [stranger.reply().message_id for _ in range(3)] == [11, 12, 13]
    gate.still_works()
    gate.settled(1)


def test_context_with_unknown_syntaxes_is_refused_and_the_others_stand(gate):
    contexts = [(1, CT, ["1.2.3.4"]), (3, "1.2.3.4.5", [EXPLICIT]), (5, CT, [EXPLICIT])]
    _kind, body = gate.dial().send(association_request(contexts=contexts)).next_pdu()
    results, rest = {}, body[68:]
    while rest:
        kind, length = struct.unpack(">BxH", rest[:4])
        if kind == 0x21:
            results[rest[4]] = rest[6]
        rest = rest[4 + length :]
    assert results == {1: 4, 3: 3, 5: 0}
    gate.still_works()
    gate.settled(1)


def test_unknown_user_item_is_survived(gate):
    stranger = gate.dial().send(association_request(user_items=item(0x5F, b"who knows")))
    assert stranger.next_pdu()[0] == 0x02
    gate.still_works()
    gate.settled(1)


def test_peer_that_resets_at_once_leaves_nothing(gate):
    for _ in range(20):
        stranger = gate.dial()
        stranger.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER: close() resets
        stranger.close()
    gate.still_works()
    gate.settled(1)
