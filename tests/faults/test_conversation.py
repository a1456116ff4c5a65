"""What a stranger may say on an established association: PDUs, fragments, commands; and how slowly."""

import struct
import threading
import time

import pytest
from stranger import (
    CANCEL,
    COMMAND,
    CT,
    DATA,
    ECHO,
    LAST,
    STORE,
    VERIFICATION,
    WITH_DATA_SET,
    WITHOUT_DATA_SET,
    association_request,
    command,
    data_set_of,
    echo_command,
    element,
    pdu,
    pdv,
    small_ct,
    store_command,
    ui,
    us,
)

LAST_COMMAND = COMMAND | LAST


@pytest.fixture
def ds():
    return small_ct()


@pytest.fixture
def body(ds):
    return data_set_of(ds)


def store_pdv(ds, context_id=1):
    return pdv(context_id, LAST_COMMAND, store_command(str(ds.SOPInstanceUID)))


def test_command_and_data_set_in_one_pdu_are_kept(gate, ds, body):
    stranger = gate.dial().associate()
    reply = stranger.data(store_pdv(ds), pdv(1, LAST, body)).reply()
    assert (reply.field, reply.message_id, reply.status, reply.context_id) == (0x8001, 1, 0, 1)
    assert gate.settled(1)[0].read_bytes().endswith(body)
    gate.still_works()


def test_one_byte_values_are_kept(gate, ds, body):
    stranger = gate.dial().associate()
    request = store_command(str(ds.SOPInstanceUID))
    pieces = [pdv(1, COMMAND, request[k : k + 1]) for k in range(len(request) - 1)]
    stranger.data(*pieces, pdv(1, LAST_COMMAND, request[-1:]))
    data = [pdv(1, DATA, body[k : k + 1]) for k in range(len(body) - 1)] + [pdv(1, LAST, body[-1:])]
    for start in range(0, len(data), 2000):
        stranger.data(*data[start : start + 2000])
    assert stranger.reply().status == 0
    assert gate.settled(1)[0].read_bytes().endswith(body)
    gate.still_works()


def test_one_byte_per_pdu_is_kept(gate, ds, body):
    stranger = gate.dial().associate()
    request = store_command(str(ds.SOPInstanceUID))
    whole = [(COMMAND, request[k : k + 1]) for k in range(len(request))]
    whole += [(DATA, body[k : k + 1]) for k in range(len(body))]
    ends = {len(request) - 1, len(whole) - 1}
    stranger.send(
        b"".join(
            pdu(4, pdv(1, kind | (LAST if k in ends else 0), part)) for k, (kind, part) in enumerate(whole)
        )
    )
    assert stranger.reply().status == 0
    assert gate.settled(1)[0].read_bytes().endswith(body)
    gate.still_works()


def test_empty_values_between_and_at_the_end_are_harmless(gate, ds, body):
    stranger = gate.dial().associate()
    reply = stranger.data(store_pdv(ds), pdv(1, DATA, b""), pdv(1, DATA, body), pdv(1, LAST, b"")).reply()
    assert reply.status == 0
    assert gate.settled(1)[0].read_bytes().endswith(body)
    gate.still_works()


def test_several_objects_in_one_burst_are_answered_in_order(gate):
    stranger, objects = gate.dial().associate(), [small_ct() for _ in range(4)]
    for number, one in enumerate(objects):
        request = store_command(str(one.SOPInstanceUID), message_id=number + 1)
        stranger.data(pdv(1, LAST_COMMAND, request), pdv(1, LAST, data_set_of(one)))
    assert [stranger.reply().message_id for _ in objects] == [1, 2, 3, 4]
    gate.settled(4)
    gate.still_works()


def test_echo_between_objects_on_its_own_context(gate, ds, body):
    stranger = gate.dial().associate()
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    echo = stranger.data(pdv(3, LAST_COMMAND, echo_command())).reply()
    assert (echo.field, echo.message_id, echo.status, echo.context_id) == (0x8030, 7, 0, 3)
    stranger.release()
    gate.settled(1)
    gate.still_works()


def test_two_contexts_interleaved_in_one_message_abort(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(store_pdv(ds), pdv(1, DATA, body[:100]), pdv(5, DATA, body[100:]))
    assert stranger.abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


def test_command_inside_a_data_set_aborts(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(store_pdv(ds), pdv(1, DATA, body[:100]), store_pdv(ds))
    assert stranger.abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


def test_data_set_without_a_command_aborts(gate, body):
    assert gate.dial().associate().data(pdv(1, LAST, body)).abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


def test_context_that_was_not_accepted_aborts(gate, ds):
    assert gate.dial().associate().data(store_pdv(ds, context_id=99)).abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00\x00",
        struct.pack(">IBB", 1, 1, 3),
        struct.pack(">IBB", 0xFFFFFFFF, 1, 3),
        struct.pack(">IBB", 100, 1, 3) + bytes(10),
        pdv(1, LAST_COMMAND, echo_command()) + b"\x00\x00\x00",
    ],
    ids=["empty", "cut head", "length 1", "length 4 GiB", "beyond the PDU", "rest after a value"],
)
def test_values_that_do_not_fit_their_pdu_abort(gate, body):
    stranger = gate.dial().associate().send(pdu(4, body))
    kind, answer = stranger.next_pdu()
    if kind == 0x04:  # the echo before the nonsense
        kind, answer = stranger.next_pdu()
    assert (kind, answer[2], answer[3]) == (0x07, 2, 6)
    gate.settled(0)
    gate.still_works()


def test_pdu_longer_than_negotiated_aborts_and_leaves_nothing(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(store_pdv(ds), pdv(1, DATA, body[:1000]))
    stranger.send(pdu(4, bytes(1000), length=0xFFFFFFFE))
    assert stranger.abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize(
    ("kind", "reason"), [(0x01, 2), (0x02, 2), (0x03, 2), (0x06, 2), (0x09, 1), (0xFE, 1)]
)
def test_pdu_out_of_place_aborts_with_its_reason(gate, kind, reason):
    assert gate.dial().associate().send(pdu(kind, bytes(4))).abort_source_and_reason() == (2, reason)
    gate.settled(0)
    gate.still_works()


def test_release_inside_an_object_is_answered_and_nothing_kept(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(store_pdv(ds), pdv(1, DATA, body[:1000]))
    stranger.release()
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize("how", ["abort", "reset", "close"])
def test_sender_that_ends_inside_an_object_leaves_nothing(gate, ds, body, how):
    stranger = gate.dial().associate()
    stranger.data(store_pdv(ds), pdv(1, DATA, body[:1000]))
    if how == "abort":
        stranger.send(pdu(7, bytes(4)))
        assert stranger.is_closed()
    elif how == "reset":
        stranger.socket.setsockopt(1, 13, struct.pack("ii", 1, 0))
    stranger.close()
    gate.settled(0)
    gate.still_works()


def test_release_of_odd_length_aborts(gate):
    assert gate.dial().associate().send(pdu(5, bytes(6))).abort_source_and_reason() == (2, 6)
    gate.settled(0)
    gate.still_works()


def test_silence_between_messages_aborts_after_the_network_timeout(gate):
    started = time.monotonic()
    assert gate.dial().associate().abort_source_and_reason() == (2, 0)
    assert 0.9 < time.monotonic() - started < 3
    gate.settled(0)
    gate.still_works()


def test_silence_inside_an_object_aborts_and_leaves_nothing(gate, ds, body):
    stranger = gate.dial().associate().data(store_pdv(ds), pdv(1, DATA, body[:1000]))
    started = time.monotonic()
    assert stranger.abort_source_and_reason() == (2, 0)
    assert time.monotonic() - started < 2
    gate.settled(0)
    gate.still_works()


def test_pdu_that_trickles_is_aborted_at_its_deadline(gate, ds):
    stranger = gate.dial().associate().data(store_pdv(ds))
    stranger.send(struct.pack(">BxI", 4, 10_006) + struct.pack(">IBB", 10_002, 1, 0))
    assert stranger.trickle(*[b"x"] * 200, pause_s=0.05) < 4
    gate.settled(0)
    gate.still_works()


def test_object_that_trickles_pdu_by_pdu_is_aborted_at_its_deadline(open_gate, ds):
    gate = open_gate(object_timeout_s=1.0, network_timeout_s=5.0)
    stranger = gate.dial().associate().data(store_pdv(ds))
    assert stranger.trickle(*[pdu(4, pdv(1, DATA, b"xx"))] * 200, pause_s=0.1) < 4
    gate.settled(0)
    gate.still_works()


def test_sender_that_never_reads_its_answers_is_cut(open_gate):
    gate = open_gate(network_timeout_s=5.0)
    stranger = gate.dial().associate()
    echoes = pdu(4, pdv(3, LAST_COMMAND, echo_command())) * 1000
    stranger.socket.settimeout(0.5)
    stranger.trickle(*[echoes] * 10_000, pause_s=0.0)
    gate.still_works()
    gate.settled(1)


def test_command_set_without_end_aborts(gate):
    stranger = gate.dial().associate()
    stranger.trickle(*[pdu(4, pdv(1, COMMAND, bytes(1000)))] * 1000, pause_s=0.002)
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x00\x00\x00",
        element(0x0000, bytes(4)),
        command(us(0x0100, STORE), us(0x0800, WITH_DATA_SET)),
        command(us(0x0100, STORE), us(0x0110, 1)),
        command(us(0x0110, 1), us(0x0800, WITHOUT_DATA_SET)),
        command(us(0x0100, 0x8001), us(0x0110, 1), us(0x0800, WITHOUT_DATA_SET)),
        command(element(0x0100, b"\x01"), us(0x0110, 1), us(0x0800, WITHOUT_DATA_SET)),
        struct.pack("<HHI", 0, 2, 0xFFFFFFFF),
        struct.pack("<HHI", 8, 0x16, 0),
    ],
    ids=[
        "empty",
        "cut off",
        "group length alone",
        "no message ID",
        "no data set type",
        "no command field",
        "a response",
        "number of one byte",
        "length 4 GiB",
        "another group",
    ],
)
def test_command_that_can_not_be_answered_aborts(gate, bad):
    kind, _body = gate.dial().associate().data(pdv(1, LAST_COMMAND, bad)).next_pdu()
    assert kind == 0x07
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize(
    "field", [0x0010, 0x0020, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0042]
)
def test_operation_that_is_not_ours_is_answered_as_unrecognized(gate, ds, body, field):
    stranger = gate.dial().associate()
    request = command(ui(2, CT), us(0x0100, field), us(0x0110, 5), us(0x0800, WITH_DATA_SET))
    reply = stranger.data(pdv(1, LAST_COMMAND, request), pdv(1, LAST, body)).reply()
    assert (reply.field, reply.message_id, reply.status) == (field | 0x8000, 5, 0x0211)
    assert reply.comment
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0, "the association goes on"
    gate.settled(1)
    gate.still_works()


def test_cancel_without_anything_to_cancel_goes_unanswered(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(
        pdv(1, LAST_COMMAND, command(us(0x0100, CANCEL), us(0x0120, 1), us(0x0800, WITHOUT_DATA_SET)))
    )
    assert stranger.store(str(ds.SOPInstanceUID), body).message_id == 1
    gate.settled(1)
    gate.still_works()


def test_echo_on_a_storage_context_is_refused(gate):
    reply = gate.dial().associate().data(pdv(1, LAST_COMMAND, echo_command())).reply()
    assert reply.status == 0x0122
    gate.settled(0)
    gate.still_works()


def test_store_on_the_verification_context_is_refused_and_leaves_nothing(gate, ds, body):
    stranger = gate.dial().associate()
    reply = stranger.data(store_pdv(ds, context_id=3), pdv(3, LAST, body)).reply()
    assert reply.status == 0x0122
    gate.settled(0)
    gate.still_works()


def test_echo_with_a_data_set_is_answered(gate):
    request = command(ui(2, VERIFICATION), us(0x0100, ECHO), us(0x0110, 1), us(0x0800, WITH_DATA_SET))
    reply = gate.dial().associate().data(pdv(3, LAST_COMMAND, request), pdv(3, LAST, b"what")).reply()
    assert reply.status == 0x0211
    gate.settled(0)
    gate.still_works()


def test_peer_that_takes_only_tiny_pdus_gets_its_answer_in_pieces(gate):
    tiny = association_request().replace(struct.pack(">I", 16384), struct.pack(">I", 128))
    stranger = gate.dial().send(tiny)
    stranger.next_pdu()
    reply = stranger.data(
        pdv(1, LAST_COMMAND, command(us(0x0100, 0x20), us(0x0110, 1), us(0x0800, 0x0101)))
    ).send(b"")
    kind, body = reply.next_pdu()
    assert kind == 0x04
    assert len(body) <= 128
    gate.settled(0)
    gate.still_works()


def test_stop_inside_an_object_aborts_it_and_keeps_nothing(gate, ds, body):
    stranger = gate.dial().associate().data(store_pdv(ds), pdv(1, DATA, body[:1000]))
    time.sleep(0.1)
    gate.scp.stop()
    assert stranger.abort_source_and_reason() == (0, 0)
    gate.settled(0)
    gate.scp.start()
    gate.still_works()


def test_good_senders_beside_a_flood_of_bad_ones_are_all_answered(open_gate):
    gate = open_gate(max_associations=20, max_associations_per_address=20)
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            stranger = gate.dial()
            stranger.send(association_request() if len(gate.ended) % 2 else b"\x01\x00")
            stranger.socket.close()

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for _ in range(5):
            gate.still_works()
    finally:
        stop.set()
        flooding.join()
    gate.settled(5)
