import struct

import pytest

from dae_pacs.dimse import commands, messages
from dae_pacs.dimse.commands import Command
from dae_pacs.errors import ProtocolError

CT = "1.2.840.10008.5.1.4.1.1.2"


def test_request_is_read_as_it_was_written():
    found = commands.parse(messages.store_request(CT, "1.2.3", message_id=77))
    assert found == Command(commands.C_STORE_RQ, 77, CT, "1.2.3", has_data_set=True)
    assert commands.parse(messages.echo_request(message_id=5)).has_data_set is False


def test_response_repeats_the_requests_uids_and_carries_status_and_comment():
    request = Command(commands.C_STORE_RQ, 300, CT, "1.2.3", has_data_set=True)
    encoded = commands.response(request, status=0xA700, comment="no room \\ ä" + "x" * 80)
    assert struct.unpack("<HHII", encoded[:12]) == (0, 0, 4, len(encoded) - 12)
    values, rest = {}, encoded[12:]
    while rest:
        _group, element, length = struct.unpack("<HHI", rest[:8])
        values[element] = rest[8 : 8 + length]
        assert length % 2 == 0
        rest = rest[8 + length :]
    assert list(values) == sorted(values), "elements stand in the order of their tags"
    assert values[0x0100] == struct.pack("<H", 0x8001)
    assert values[0x0120] == struct.pack("<H", 300)
    assert values[0x0900] == struct.pack("<H", 0xA700)
    assert values[0x0902] == (b"no room ? ?" + b"x" * 80)[:64]
    assert values[0x0002].rstrip(b"\0").decode() == CT
    assert values[0x1000].rstrip(b"\0").decode() == "1.2.3"


def test_uid_that_is_none_is_not_repeated():
    request = Command(commands.C_STORE_RQ, 1, "../..", "\xff", has_data_set=True)
    assert b".." not in commands.response(request, status=0xC000)


@pytest.mark.parametrize(
    ("uid", "fault"),
    [
        ("1.2.840", ""),
        ("1.2.003", ""),
        ("2.25." + "9" * 59, ""),
        ("2.25." + "9" * 60, "longer than 64 characters"),
        ("", "missing or empty"),
        ("1", "malformed"),
        ("1..2", "malformed"),
        ("1.2.", "malformed"),
        ("1.2.a", "malformed"),
        ("1.2.٣", "malformed"),
        ("1.2\n", "malformed"),
    ],
)
def test_uids_are_held_against_ps3_5(uid, fault):
    assert commands.uid_fault(uid) == fault


@pytest.mark.parametrize(
    ("uid", "has"), [("1.2.03", True), ("01.2", True), ("1.0.2", False), ("1.20", False)]
)
def test_leading_zeros_are_seen(uid, has):
    assert commands.has_leading_zero(uid) is has


def test_command_set_cut_anywhere_is_refused_or_lacks_its_last_element():
    whole = messages.store_request(CT, "1.2.3", message_id=1)
    without_instance = len(whole) - 8 - len("1.2.3\0")
    for size in range(len(whole)):
        if size == without_instance:
            assert commands.parse(whole[:size]).sop_instance_uid == ""
            continue
        with pytest.raises(ProtocolError):
            commands.parse(whole[:size])
