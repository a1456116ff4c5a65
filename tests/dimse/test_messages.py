import io

import pytest
from pydicom.filereader import read_dataset
from pynetdicom.pdu import P_DATA_TF

from dae_pacs.dimse import messages


def pdvs(stream: bytes) -> list[tuple[int, int, bytes]]:
    """Decode a stream of P-DATA-TF PDUs with pynetdicom: (context, control header, fragment) of each item."""
    found = []
    while stream:
        length = 6 + int.from_bytes(stream[2:6], "big")
        pdu = P_DATA_TF()
        pdu.decode(stream[:length])
        for item in pdu.presentation_data_value_items:
            value = item.presentation_data_value
            found.append((item.presentation_context_id, value[0], value[1:]))
        stream = stream[length:]
    return found


def command(encoded: bytes) -> dict[str, object]:
    ds = read_dataset(io.BytesIO(encoded), is_implicit_VR=True, is_little_endian=True)
    return {element.keyword: element.value for element in ds}


def test_store_request_is_the_command_of_the_standard() -> None:
    encoded = messages.store_request("1.2.3", "1.2.34", message_id=7)
    assert command(encoded) == {
        "CommandGroupLength": len(encoded) - 12,
        "AffectedSOPClassUID": "1.2.3",
        "CommandField": 1,
        "MessageID": 7,
        "Priority": 0,
        "CommandDataSetType": 1,
        "AffectedSOPInstanceUID": "1.2.34",
    }


def test_echo_request_has_no_data_set() -> None:
    fields = command(messages.echo_request(message_id=65535))
    assert fields["CommandField"] == 0x30
    assert fields["CommandDataSetType"] == 0x0101
    assert fields["MessageID"] == 65535


@pytest.mark.parametrize("size", [1, 2, 93, 94, 95, 1000, 4096])
@pytest.mark.parametrize("limit", [100, 101, 16384, 0])
def test_data_set_arrives_whole_in_pdus_of_the_peers_size(size: int, limit: int) -> None:
    data = bytes(range(256)) * 16
    blocks = messages.data_set_blocks(io.BytesIO(data), size, context_id=5, max_pdu_bytes=limit)
    stream = b"".join(bytes(block) for block in blocks)
    found = pdvs(stream)
    assert b"".join(fragment for _, _, fragment in found) == data[:size]
    assert {context for context, _, _ in found} == {5}
    assert [control for _, control, _ in found] == [0] * (len(found) - 1) + [2]
    assert all(len(fragment) % 2 == 0 for _, _, fragment in found[:-1])
    assert all(len(fragment) + 6 <= (limit or 131072) for _, _, fragment in found)


def test_large_data_set_comes_in_bounded_blocks() -> None:
    data = bytes(1_000_001)
    sizes, found = [], 0
    for block in messages.data_set_blocks(io.BytesIO(data), len(data), context_id=1, max_pdu_bytes=16382):
        sizes.append(len(block))
        found += sum(len(fragment) for _, _, fragment in pdvs(bytes(block)))
    assert max(sizes) <= 262144
    assert found == len(data)


def test_command_is_split_for_a_peer_with_tiny_pdus() -> None:
    encoded = messages.store_request("1.2.3", "1.2.34", message_id=1)
    found = pdvs(messages.command_pdus(encoded, context_id=3, max_pdu_bytes=32))
    assert b"".join(fragment for _, _, fragment in found) == encoded
    assert [control for _, control, _ in found] == [1] * (len(found) - 1) + [3]


def test_file_that_shrinks_while_it_is_sent_is_noticed() -> None:
    with pytest.raises(OSError, match="shorter"):
        list(messages.data_set_blocks(io.BytesIO(bytes(10)), 11, context_id=1, max_pdu_bytes=0))
