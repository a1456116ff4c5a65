"""Inputs for the fuzzer: whole conversations, valid at first, each broken in a few places.

A conversation is a list of PDUs, a PDU of P-DATA a list of values; what they carry is a command set and a
data set (broken_data_sets.py). The same seed gives the same input for ever.
"""

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from broken_data_sets import LENGTHS, TEXTS, break_bytes, data_set
from stranger import (
    COMMAND,
    CT,
    ECHO,
    EXPLICIT,
    IMPLICIT,
    LAST,
    VERIFICATION,
    command,
    item,
    pdu,
    pdv,
    ui,
    us,
)


def command_set(chance: random.Random, uid: str) -> bytes:
    """Make a command set, most often a good C-STORE request."""
    parts = {
        "class": ui(0x0002, CT),
        "field": us(0x0100, 0x0001),
        "id": us(0x0110, chance.randrange(65536)),
        "priority": us(0x0700, 0),
        "data": us(0x0800, 0),
        "uid": ui(0x1000, uid),
    }
    if chance.random() < 0.6:
        return command(*parts.values())
    for _ in range(chance.randint(1, 2)):
        name = chance.choice(list(parts))
        match chance.randrange(6):
            case 0:
                del parts[name]
                parts = parts or {"field": us(0x0100, ECHO)}
            case 1:
                parts["field"] = us(0x0100, chance.choice((0x30, 0x20, 0x21, 0x10, 0xFFF, 0x8001, 0, 0xFFFF)))
            case 2:
                wrong = chance.choice(TEXTS)[:4000].decode("latin-1")
                parts["uid" if chance.random() < 0.5 else "class"] = ui(
                    chance.choice((0x1000, 0x0002)), wrong
                )
            case 3:
                parts[name] = break_bytes(chance, parts[name])
            case 4:
                parts["data"] = us(0x0800, chance.choice((0x0101, 0x0000, 0x0001, 0xFFFF)))
            case _:
                parts[f"more {len(parts)}"] = us(chance.randrange(0x10000), chance.randrange(0x10000))
    return command(*parts.values())


def association_request(chance: random.Random) -> bytes:
    """Make an association request; two in three are good."""
    contexts = [(1, CT, [EXPLICIT]), (3, VERIFICATION, [IMPLICIT]), (5, CT, [IMPLICIT])]
    items = [item(0x10, b"1.2.840.10008.3.1.1.1")]
    for context_id, abstract, syntaxes in contexts:
        sub = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        items.append(item(0x20, bytes((context_id, 0, 0, 0)) + sub))
    user = [item(0x51, struct.pack(">I", chance.choice((16384, 0, 1, 2**32 - 1)))), item(0x52, b"1.2.3")]
    head = struct.pack(">Hxx", 1) + b"DAE_PACS".ljust(16) + b"FUZZER".ljust(16) + bytes(32)
    if chance.random() < 0.67:
        return pdu(0x01, head + b"".join(items) + item(0x50, b"".join(user)))
    for _ in range(chance.randint(1, 3)):
        level = chance.choice((items, user))
        at = chance.randrange(len(level)) if level else 0
        match chance.randrange(7):
            case 0 if level:
                del level[at]
            case 1 if level:
                level.insert(at, level[at])
            case 2 if level:
                level[at] = break_bytes(chance, level[at])
            case 3:
                level.append(item(chance.randrange(256), chance.randbytes(chance.randrange(40))))
            case 4:
                user.append(
                    item(chance.choice((0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59)), chance.randbytes(9))
                )
            case 5:
                many = item(0x30, CT.encode()) + item(0x40, EXPLICIT.encode())
                items += [
                    item(0x20, bytes((k % 256, 0, 0, 0)) + many) for k in range(chance.choice((10, 300)))
                ]
            case _:
                head = break_bytes(chance, head)
    whole = pdu(0x01, head + b"".join(items) + item(0x50, b"".join(user)))
    return break_bytes(chance, whole) if chance.random() < 0.2 else whole


@dataclass(frozen=True)
class Input:
    """One conversation: what is sent, in which parts, and how it ends."""

    parts: tuple[bytes, ...]
    ending: str
    """"release", "abort", "close", "reset" or "half": the sending side alone is shut."""


def conversation(chance: random.Random, seeds: Sequence[bytes], uid: str) -> Input:
    """Make a whole conversation: association request, one to three messages, an end."""
    pdus = [association_request(chance)]
    for number in range(chance.choice((1, 1, 1, 2, 3))):
        pdus += _message(chance, seeds, f"{uid}.{number}")
    if chance.random() < 0.25:
        _break_pdus(chance, pdus)
    ending = chance.choice(("release", "release", "abort", "close", "reset", "half"))
    if chance.random() < 0.03:  # byte by byte, as far as it is short
        whole = b"".join(pdus)[:2000]
        return Input(tuple(whole[k : k + 1] for k in range(len(whole))), ending)
    return Input(tuple(pdus), ending)


def _message(chance: random.Random, seeds: Sequence[bytes], uid: str) -> list[bytes]:
    """Make the PDUs of one C-STORE: values of any size, in PDUs of any number of values."""
    context_id = chance.choice((1, 1, 1, 5, 5, 3, 2, 255))
    body = data_set(chance, seeds, uid, is_implicit=context_id == 5)
    values = [pdv(context_id, COMMAND | LAST, command_set(chance, uid))]
    size = chance.choice((16000, 16000, 4000, 501)) if len(body) < 100000 else 16000
    for start in range(0, max(1, len(body)), size):
        last = LAST if start + size >= len(body) else 0
        values.append(pdv(context_id, last, body[start : start + size]))
    if chance.random() < 0.2:
        at = chance.randrange(len(values))
        match chance.randrange(4):
            case 0:
                values[at] = break_bytes(chance, values[at])
            case 1:
                del values[at]
            case 2:
                values.insert(at, pdv(context_id, chance.randrange(256), b""))
            case _:
                values[at] = pdv(chance.randrange(256), chance.randrange(4), values[at][6:])
    if chance.random() < 0.1:
        return [pdu(0x04, b"".join(values))]
    return [pdu(0x04, value) for value in values]


def _break_pdus(chance: random.Random, pdus: list[bytes]) -> None:
    at = chance.randrange(len(pdus))
    match chance.randrange(6):
        case 0:
            pdus[at] = break_bytes(chance, pdus[at])
        case 1:
            pdus.insert(at, pdus[at])
        case 2:
            del pdus[at]
        case 3:
            pdus[at] = bytes((chance.randrange(256),)) + pdus[at][1:]
        case 4:
            wrong = struct.pack(">I", chance.choice((*LENGTHS, len(pdus[at]) + 1)))
            pdus[at] = pdus[at][:2] + wrong + pdus[at][6:]
        case _:
            pdus.insert(at, pdu(chance.randrange(256), chance.randbytes(chance.choice((0, 4, 30)))))
