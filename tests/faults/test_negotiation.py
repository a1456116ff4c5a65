"""Odd things in an association request, lawful or not: each is answered, and objects are taken afterwards."""

import struct

import pytest
from stranger import CT, EXPLICIT, IMPLICIT, association_request, data_set_of, item, pdu, small_ct

RLE, JPEG_LS = "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.80"
EVERY_SYNTAX = [EXPLICIT, IMPLICIT, RLE, JPEG_LS, "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.70", "1.2.3"]


def user_identity(kind: int, primary: bytes, secondary: bytes = b"", *, wants_answer: bool) -> bytes:
    """Write a User Identity sub-item (PS3.7 D.3.3.7.1)."""
    body = bytes((kind, wants_answer)) + struct.pack(">H", len(primary)) + primary
    return item(0x58, body + struct.pack(">H", len(secondary)) + secondary)


def of_uid(uid: str, more: bytes) -> bytes:
    return struct.pack(">H", len(uid)) + uid.encode() + more


LAWFUL = {
    "a user's name": user_identity(1, b"someone", wants_answer=False),
    "a name and passcode, with an answer wanted": user_identity(2, b"someone", b"secret", wants_answer=True),
    "a Kerberos ticket": user_identity(3, bytes(300), wants_answer=True),
    "a SAML assertion": user_identity(4, b"<a/>", wants_answer=False),
    "a JSON web token": user_identity(5, b"a.b.c", wants_answer=True),
    "extended negotiation of a class": item(0x56, of_uid(CT, bytes((2, 0, 3, 0, 0, 0)))),
    "common extended negotiation": item(0x57, of_uid(CT, b"") + struct.pack(">H", 0) + struct.pack(">H", 0)),
    "both roles": item(0x54, of_uid(CT, bytes((1, 1)))),
    "an asynchronous window without bound": item(0x53, struct.pack(">HH", 0, 0)),
    "an asynchronous window of 16": item(0x53, struct.pack(">HH", 16, 16)),
    "an item of a later edition": item(0x5F, b"whatever"),
}


def stores(stranger) -> None:
    ds = small_ct()
    assert stranger.store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
    stranger.release()


@pytest.mark.parametrize("name", LAWFUL)
def test_lawful_item_is_borne_and_objects_are_taken(gate, name):
    stores(gate.dial().associate(user_items=LAWFUL[name]))
    gate.still_works()


def test_window_and_identity_are_not_promised_in_the_answer(gate):
    offered = LAWFUL["an asynchronous window of 16"] + LAWFUL["a JSON web token"]
    kind, body = gate.dial().send(association_request(user_items=offered)).next_pdu()
    assert kind == 0x02
    user = body[body.rindex(b"\x51\x00\x00\x04") :]
    assert b"\x53\x00" not in user, "one operation at a time (PS3.7 D.3.3.3)"
    assert b"\x59\x00" not in user, "no user identity is answered (PS3.7 D.3.3.7.2)"


def test_hundred_and_twenty_eight_contexts_with_every_syntax_are_answered(gate):
    contexts = [(2 * k + 1, CT, EVERY_SYNTAX if k else [EXPLICIT]) for k in range(128)]
    stranger = gate.dial().associate(contexts=contexts)
    stores(stranger)
    gate.still_works()


@pytest.mark.parametrize(
    "ids",
    [
        [2 * k % 256 + 1 for k in range(200)],
        [1, *[k % 256 for k in range(300)]],
        [1] * 3,
        [1, 0, 2, 254],
    ],
    ids=["200 contexts", "300 of any number", "one three times", "even ones"],
)
def test_more_contexts_than_there_are_numbers_for_hurt_nobody(gate, ids):
    """PS3.8 9.3.2.2 has odd numbers from 1 to 255, each once."""
    stranger = gate.dial().send(association_request(contexts=[(k, CT, [EXPLICIT]) for k in ids]))
    try:
        kind, _body = stranger.next_pdu()
    except (EOFError, ConnectionError):
        kind = 0x07
    assert kind in {0x02, 0x03, 0x07}
    if kind == 0x02:
        stores(stranger)
    gate.still_works()


def test_context_without_a_transfer_syntax_and_one_without_a_class_hurt_nobody(gate):
    stranger = gate.dial().send(
        association_request(contexts=[(1, CT, [EXPLICIT]), (3, CT, []), (5, "", [EXPLICIT])])
    )
    assert stranger.next_pdu()[0] in {0x02, 0x07}, "there is none in the standard"
    gate.still_works()


def test_items_of_a_later_edition_are_passed_over_wherever_they_stand(gate):
    request = association_request(user_items=item(0x60, b"x" * 300) + LAWFUL["both roles"])
    request = pdu(0x01, request[6:74] + item(0x77, b"new") + request[74:] + item(0x78, b""))
    stranger = gate.dial().send(request)
    assert stranger.next_pdu()[0] == 0x02
    stores(stranger)
    gate.still_works()


def test_user_items_that_do_not_fit_are_refused_beside_an_unknown_item(gate):
    request = association_request()
    torn = request[6:].replace(item(0x52, b"1.2.3.4"), b"\x52\x00\xff\xff1.2.3.4")
    assert gate.dial().send(pdu(0x01, torn + item(0x78, b""))).next_pdu()[0] == 0x07
    gate.still_works()
