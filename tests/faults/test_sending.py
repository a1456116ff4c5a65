"""What a PACS may do to a sender: what the ledger says then, and that nobody else is held up by it.

Each case owes three objects to a bad peer and to a good one. The good one must have its three while the bad
one is bad; then the bad one is mended, and must end with the very same three objects.
"""

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hand_peer import Script, Talk, response
from outpost import COUNT, Outpost
from stranger import COMMAND, LAST, command, pdu, pdv, us

from dae_pacs import failpoints
from dae_pacs.node import delivery
from dae_pacs.spool import backoff


@pytest.fixture
def outpost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outpost]:
    monkeypatch.setattr(backoff, "FIRST_BACKOFF_S", 0.05)  # the pauses are not what is tested here
    made = Outpost(tmp_path)
    yield made
    failpoints.disarm()
    made.close()


def silent(talk: Talk) -> None:
    while talk.connection.recv(65536):
        pass


def accepts_and_is_silent(talk: Talk) -> None:
    talk.accept()
    silent(talk)


def aborts_in_mid_object(talk: Talk) -> None:
    talk.accept(max_pdu=1024)
    talk.next_pdu()
    talk.next_pdu()
    talk.send(pdu(7, bytes((0, 0, 2, 0))))
    silent(talk)


def closes_in_mid_object(talk: Talk) -> None:
    talk.accept(max_pdu=1024)
    talk.next_pdu()


def resets(talk: Talk) -> None:
    talk.accept()
    talk.hear_store()
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def closes_before_the_answer(talk: Talk) -> None:
    talk.accept()
    talk.hear_store()


def speaks_http(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def answers_with(encode: Callable[[int, int, str], bytes]) -> Script:
    def script(talk: Talk) -> None:
        talk.accept()
        heard = talk.hear_store()
        assert heard is not None
        talk.send(encode(*heard))
        silent(talk)

    return script


def _of_message(message_id: int, field: int) -> Callable[[int, int, str], bytes]:
    def encode(context_id: int, number: int, uid: str) -> bytes:
        content = response(number + message_id, uid, 0, field=field)
        return pdu(4, pdv(context_id, COMMAND | LAST, content))

    return encode


def _without_status(context_id: int, number: int, _uid: str) -> bytes:
    content = command(us(0x0100, 0x8001), us(0x0120, number), us(0x0800, 0x0101))
    return pdu(4, pdv(context_id, COMMAND | LAST, content))


def _on_another_context(_context_id: int, number: int, uid: str) -> bytes:
    return pdu(4, pdv(201, COMMAND | LAST, response(number, uid, 0)))


def _with_data_set_to_come(context_id: int, number: int, _uid: str) -> bytes:
    content = command(us(0x0100, 0x8001), us(0x0120, number), us(0x0800, 0x0001), us(0x0900, 0))
    return pdu(4, pdv(context_id, COMMAND | LAST, content))


def _a_request(context_id: int, number: int, _uid: str) -> bytes:
    content = command(us(0x0100, 0x0030), us(0x0110, number), us(0x0800, 0x0101))
    return pdu(4, pdv(context_id, COMMAND | LAST, content))


BREAKS = {
    "silent from the first byte": (silent, "no answer to the association request"),
    "no DICOM at all": (speaks_http, "aborted or closed the connection instead of answering"),
    "closes at once": (lambda _talk: None, "aborted or closed the connection instead of answering"),
    "an answer to the request that is cut off": (
        lambda talk: (talk.hear_request(), talk.send(pdu(2, bytes(20), length=100))),
        "aborted or closed the connection instead of answering",
    ),
    "an acceptance that is none": (
        lambda talk: (talk.hear_request(), talk.send(pdu(2, bytes(20)))),
        "aborted or closed the connection instead of answering",
    ),
    "an acceptance of four gigabytes": (
        lambda talk: (talk.hear_request(), talk.send(pdu(2, bytes(20), length=0xFFFFFFFE)), silent(talk)),
        "aborted or closed the connection instead of answering",
    ),
    "accepts and never answers": (accepts_and_is_silent, "no answer within"),
    "aborts in mid-object": (aborts_in_mid_object, "abort|broke while an object was sent"),
    "closes in mid-object": (closes_in_mid_object, "closed the connection|broke"),
    "resets the connection": (resets, "broke|closed the connection"),
    "closes before the answer": (closes_before_the_answer, "closed the connection"),
    "aborts instead of answering": (answers_with(lambda *_: pdu(7, bytes(4))), "aborted the association"),
    "releases instead of answering": (answers_with(lambda *_: pdu(5, bytes(4))), "released the association"),
    "another message's number": (answers_with(_of_message(7, 0x8001)), "another message than ours"),
    "the answer to another command": (answers_with(_of_message(0, 0x8030)), "no response to what we asked"),
    "an answer without a status": (answers_with(_without_status), "a response without Status"),
    "an answer on a context that is none": (answers_with(_on_another_context), "another message than ours"),
    "an answer whose data set never comes": (answers_with(_with_data_set_to_come), "no answer within"),
    "a request instead of an answer": (answers_with(_a_request), "no response"),
    "garbage instead of an answer": (answers_with(lambda *_: b"\xde\xad\xbe\xef" * 20), "unknown type"),
    "a command set of garbage": (
        answers_with(lambda number, *_: pdu(4, pdv(number, COMMAND | LAST, b"\xff" * 40))),
        "broke the protocol",
    ),
    "an answer of four gigabytes": (
        answers_with(lambda *_: pdu(4, b"", length=0xFFFFFFFE)),
        "longer than negotiated",
    ),
    "an empty answer": (answers_with(lambda *_: pdu(4)), "without a value"),
    "a value longer than its PDU": (
        answers_with(lambda *_: pdu(4, struct.pack(">IBB", 9999, 1, 3))),
        "longer than its PDU",
    ),
    "an association request of its own": (answers_with(lambda *_: pdu(1, bytes(68))), "no place here"),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_peer_that_breaks_off_keeps_everything_owed_and_holds_nobody_up(
    outpost: Outpost, case: str
) -> None:
    script, words = BREAKS[case]
    outpost.run(script)
    outpost.good_has_all()
    outpost.until(lambda: outpost.state().failures >= 1)
    assert set(outpost.statuses("bad")) <= {"waiting", "sending"}
    assert any(part in str(outpost.state().error) for part in words.split("|")), outpost.state().error
    outpost.mended()


ENDS_WELL = {
    "closes at the release": lambda talk: (talk.accept(), _until_release(talk)),
    "never answers the release": lambda talk: (talk.accept(), _until_release(talk), silent(talk)),
    "aborts at the release": lambda talk: (
        talk.accept(),
        _until_release(talk),
        talk.send(pdu(7, bytes(4))),
    ),
    "asks for the release itself at the same time": lambda talk: (
        talk.accept(),
        _until_release(talk),
        talk.send(pdu(5, bytes(4))),
        silent(talk),
    ),
    "answers in single bytes": lambda talk: (talk.accept(), _until_release(talk, _byte_by_byte)),
    "answers in values of one byte": lambda talk: (talk.accept(), _until_release(talk, _small_values)),
    "takes tiny PDUs only": lambda talk: (talk.accept(max_pdu=40), _until_release(talk)),
    "takes PDUs of any length": lambda talk: (talk.accept(max_pdu=0), _until_release(talk)),
}


def _until_release(talk: Talk, send: Callable[[Talk, int, bytes], None] | None = None) -> None:
    while (heard := talk.hear_store()) is not None:
        context_id, message_id, uid = heard
        content = response(message_id, uid, 0)
        if send is None:
            talk.send(pdu(4, pdv(context_id, COMMAND | LAST, content)))
        else:
            send(talk, context_id, content)


def _byte_by_byte(talk: Talk, context_id: int, content: bytes) -> None:
    for byte in pdu(4, pdv(context_id, COMMAND | LAST, content)):
        talk.send(bytes((byte,)))


def _small_values(talk: Talk, context_id: int, content: bytes) -> None:
    for number, byte in enumerate(content):
        last = LAST if number == len(content) - 1 else 0
        talk.send(pdu(4, pdv(context_id, COMMAND | last, bytes((byte,)))))


@pytest.mark.parametrize("case", ENDS_WELL)
def test_a_peer_with_manners_of_its_own_gets_each_object_once(outpost: Outpost, case: str) -> None:
    outpost.run(ENDS_WELL[case])
    outpost.good_has_all()
    outpost.until(lambda: outpost.statuses("bad") == ["delivered"] * COUNT)
    assert [row.attempts for row in outpost.of("bad")] == [1] * COUNT
    outpost.until(lambda: outpost.state().failures == 0)


REJECTIONS = [
    *((1, 1, reason, True) for reason in (1, 2, 3, 7, 10)),
    *((1, 2, reason, True) for reason in (1, 2)),
    *((1, 3, reason, True) for reason in (1, 2)),
    *((2, 1, reason, False) for reason in (1, 3)),
    *((2, 3, reason, False) for reason in (0, 1, 2, 7)),
    (9, 9, 9, False),
]


@pytest.mark.parametrize(("result", "source", "reason", "is_permanent"), REJECTIONS)
def test_a_rejection_keeps_everything_owed_and_a_permanent_one_is_asked_seldom(
    outpost: Outpost, result: int, source: int, reason: int, *, is_permanent: bool
) -> None:
    outpost.run(lambda talk: talk.reject(result, source, reason))
    outpost.good_has_all()
    outpost.until(lambda: outpost.state().failures >= 1)
    state = outpost.state()
    assert f"(result {result}, source {source}, reason {reason})" in str(state.error)
    assert set(outpost.statuses("bad")) == {"waiting"}
    assert [row.attempts for row in outpost.of("bad")] == [0] * COUNT, "no object was tried"
    assert state.next_try_at is not None
    if is_permanent:
        assert state.next_try_at - time.time() > 200
    else:
        outpost.mended()


FATES = {
    **dict.fromkeys((0x0000, 0x0001, 0x0107, 0x0111, 0x0116, 0xB000, 0xB006, 0xB007, 0xBFFF), "delivered"),
    **dict.fromkeys((0xA700, 0xA7FF, 0x0110, 0x0124, 0x0210, 0x0213), "waiting"),
    **dict.fromkeys((0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0117, 0x0122, 0x0211, 0x0212), "dead"),
    **dict.fromkeys((0x0002, 0x1234, 0x8000, 0xFE00, 0xFF00, 0xFFFF), "dead"),
}


@pytest.mark.parametrize("status", FATES, ids=lambda status: f"{status:04X}")
def test_a_status_decides_the_fate_of_its_object_alone(outpost: Outpost, status: int) -> None:
    second = outpost.uids[1]

    def script(talk: Talk) -> None:
        talk.accept()
        talk.serve(lambda uid: status if uid == second else outpost.got["bad"].update((uid,)) or 0)

    outpost.run(script)
    outpost.good_has_all()
    outpost.until(lambda: outpost.of("bad")[1].attempts >= 1 and outpost.statuses("bad")[2] == "delivered")
    first, middle, _third = outpost.of("bad")
    assert first.status == "delivered"
    assert middle.status in {FATES[status], "sending" if FATES[status] == "waiting" else ""}
    if status:
        assert f"{status:04X}H" in str(middle.error or middle.warning)
    assert outpost.got["bad"] == Counter({outpost.uids[0]: 1, outpost.uids[2]: 1}), "sent once each"


def test_a_peer_that_takes_no_context_leaves_its_words_with_each_object(outpost: Outpost) -> None:
    outpost.run(lambda talk: (talk.accept(result=3), talk.serve()))
    outpost.good_has_all()
    outpost.until(lambda: outpost.statuses("bad") == ["dead"] * COUNT)
    assert {row.error for row in outpost.of("bad") if "SOP class not supported" in str(row.error)}
    assert outpost.ledger.retry(now=time.time()).deliveries == COUNT
    outpost.mended()


def test_a_context_accepted_in_another_syntax_is_not_used(outpost: Outpost) -> None:
    outpost.run(lambda talk: (talk.accept(syntax="1.2.840.10008.1.2.2"), talk.serve()))
    outpost.good_has_all()
    outpost.until(lambda: outpost.statuses("bad") == ["dead"] * COUNT)
    assert "that was not proposed" in str(outpost.of("bad")[0].error)


def test_an_archive_that_is_full_is_left_alone_after_a_few_refusals(outpost: Outpost) -> None:
    asked: list[str] = []

    def script(talk: Talk) -> None:
        talk.accept()
        talk.serve(lambda uid: asked.append(uid) or 0xA700)

    outpost.run(script)
    outpost.good_has_all()
    outpost.until(lambda: outpost.state().failures >= 1)
    assert "A700H (out of resources)" in str(outpost.state().error)
    assert len(asked) <= 2 * COUNT
    outpost.mended()


def test_the_object_that_breaks_every_association_does_not_keep_the_others_back(outpost: Outpost) -> None:
    poison = outpost.uids[0]

    def script(talk: Talk) -> None:
        talk.accept()
        while (heard := talk.hear_store()) is not None:
            if heard[2] == poison:
                talk.send(pdu(7, bytes(4)))
                return
            outpost.got["bad"].update((heard[2],))
            talk.send(talk.answer(*heard, 0))
        talk.send(pdu(6, bytes(4)))

    outpost.run(script)
    outpost.good_has_all()
    outpost.until(lambda: sorted(outpost.statuses("bad"))[:2] == ["delivered"] * 2)
    assert outpost.got["bad"] == Counter(outpost.uids[1:])
    outpost.mended()


def test_a_peer_that_is_down_opens_the_breaker_and_is_probed_with_one_object(outpost: Outpost) -> None:
    seen: list[int] = []

    def script(talk: Talk) -> None:
        talk.hear_request()
        seen.append(sum(status == "sending" for status in outpost.statuses("bad")))

    outpost.run(script)
    outpost.good_has_all()
    outpost.until(lambda: outpost.state().failures >= 4, within_s=60)
    assert outpost.state().breaker in {"open", "half open"}
    assert seen[:3] == [COUNT] * 3
    assert set(seen[3:]) == {1}, "one object is the probe"


# The thread's death is the point of the test; it is seen, logged and mended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "point", ["thread.courier", "send.taken", "send.storing", "send.answered", "mark.delivered"]
)
@pytest.mark.parametrize("error", ["RuntimeError", "OSError", "MemoryError", "SpoolFullError"])
def test_a_courier_that_fails_anywhere_leaves_nothing_marked_as_being_sent(
    outpost: Outpost, point: str, error: str
) -> None:
    failpoints.arm(f"{point}=raise:{error}@1")
    outpost.run(outpost.well("bad"))

    def are_done() -> bool:
        for courier in outpost.couriers:
            courier.keep_running()
        return {row.status for row in outpost.ledger.deliveries()} == {"delivered"}

    outpost.until(are_done)
    for name in ("good", "bad"):
        assert set(outpost.got[name]) == set(outpost.uids)


def test_several_associations_share_what_is_owed_and_send_nothing_twice(
    outpost: Outpost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "BATCH", 2)  # so that three objects are more than one courier takes
    meeting = threading.Barrier(2, timeout=15)

    def script(talk: Talk) -> None:
        is_one_of_two = outpost.bad.connections <= 2
        talk.accept()
        if is_one_of_two:
            meeting.wait()  # each waits for the other: two associations stand at the same time
        talk.serve(lambda uid: outpost.got["bad"].update((uid,)) or 0)

    outpost.run(script, associations=2, timeout_s=15.0)
    outpost.until(lambda: outpost.statuses("bad") == ["delivered"] * COUNT)
    assert not meeting.broken
    assert outpost.got["bad"] == Counter(outpost.uids)
