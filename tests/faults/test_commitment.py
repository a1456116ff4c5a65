"""What may be said to us in the name of storage commitment, and what we answer (PS3.4 J.3.3)."""

import struct
from collections.abc import Callable, Iterator

import pytest
from stranger import (
    COMMAND,
    CT,
    EXPLICIT,
    IMPLICIT,
    LAST,
    VERIFICATION,
    Stranger,
    command,
    data_set_of,
    pdv,
    small_ct,
    ui,
    us,
)

from dae_pacs.dimse.commitment import Report
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.scp import ScpSettings, StorageSCP

COMMITMENT = "1.2.840.10008.1.20.1"
INSTANCE = "1.2.840.10008.1.20.1.1"
CONTEXTS = [(1, CT, [EXPLICIT]), (3, VERIFICATION, [IMPLICIT]), (5, COMMITMENT, [IMPLICIT])]
CONTEXTS += [(7, COMMITMENT, [EXPLICIT])]
UID, ONE, TWO = "2.25.7", "1.2.3.4", "1.2.3.5"


class Office:
    """An SCP that takes reports."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.scp = StorageSCP(
            ScpSettings("DAE_PACS", port=0, dimse_timeout_s=2.0),
            open_file=lambda: pytest.fail("no object is sent"),
            keep=lambda _incoming: Answer(0),
            association_ended=lambda _association: None,
            on_report=self._take,
        )
        self.scp.start()
        self.stranger = Stranger(self.scp.port)

    def _take(self, report: Report) -> Answer:
        self.reports.append(report)
        return Answer(0)

    def report(self, data_set: bytes, *, context_id: int = 5, **fields: object) -> int:
        """Send an N-EVENT-REPORT, and give the status of the answer."""
        content = event(**fields)
        data = [pdv(context_id, COMMAND | LAST, content)]
        self.stranger.data(*data)
        for start in range(0, max(len(data_set), 1), 16000):
            last = LAST if start + 16000 >= len(data_set) else 0
            self.stranger.data(pdv(context_id, last, data_set[start : start + 16000]))
        reply = self.stranger.reply()
        assert (reply.field, reply.message_id, reply.context_id) == (0x8100, 3, context_id)
        return reply.status

    def still_works(self) -> None:
        assert self.report(data_set(ONE)) == 0
        assert self.reports[-1] == Report(UID, (ONE,), {})


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    made.stranger.associate(contexts=CONTEXTS)
    yield made
    made.stranger.close()
    made.scp.stop()


def event(*, event_type: int | None = 1, class_uid: str = COMMITMENT, instance_uid: str = INSTANCE) -> bytes:
    elements = [ui(0x0002, class_uid), us(0x0100, 0x0100), us(0x0110, 3), us(0x0800, 0x0000)]
    elements.append(ui(0x1000, instance_uid))
    if event_type is not None:
        elements.append(us(0x1002, event_type))
    return command(*elements)


def element(group: int, number: int, value: bytes, *, length: int | None = None) -> bytes:
    return struct.pack("<HHI", group, number, len(value) if length is None else length) + value


def uid_element(number: int, uid: str) -> bytes:
    value = uid.encode()
    return element(0x0008, number, value + bytes(len(value) % 2))


def item(*elements: bytes, length: int | None = None) -> bytes:
    return element(0xFFFE, 0xE000, b"".join(elements), length=length)


def reference(uid: str, *, reason: int | None = None) -> bytes:
    parts = [uid_element(0x1150, CT), uid_element(0x1155, uid)]
    if reason is not None:
        parts.append(element(0x0008, 0x1197, struct.pack("<H", reason)))
    return item(*parts)


def data_set(*committed: str, failed: dict[str, int] | None = None, uid: str = UID) -> bytes:
    whole = uid_element(0x1195, uid)
    if failed:
        whole += element(0x0008, 0x1198, b"".join(reference(one, reason=why) for one, why in failed.items()))
    if committed:
        whole += element(0x0008, 0x1199, b"".join(map(reference, committed)))
    return whole


def test_a_report_is_taken_whole(office: Office) -> None:
    assert office.report(data_set(ONE, failed={TWO: 0x0112}), event_type=2) == 0
    assert office.reports == [Report(UID, (ONE,), {TWO: 0x0112})]


def test_sequences_and_items_of_undefined_length_are_read(office: Office) -> None:
    end, items_end = element(0xFFFE, 0xE00D, b""), element(0xFFFE, 0xE0DD, b"")
    inner = item(uid_element(0x1150, CT), uid_element(0x1155, ONE), length=0xFFFFFFFF) + end
    whole = uid_element(0x1195, UID) + element(0x0008, 0x1199, inner + items_end, length=0xFFFFFFFF)
    assert office.report(whole) == 0
    assert office.reports == [Report(UID, (ONE,), {})]


def test_explicit_vr_is_read_on_its_context(office: Office) -> None:
    def short(number: int, uid: str) -> bytes:
        value = uid.encode() + bytes(len(uid) % 2)
        return struct.pack("<HH2sH", 0x0008, number, b"UI", len(value)) + value

    inner = item(short(0x1150, CT), short(0x1155, ONE))
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, len(inner)) + inner
    assert office.report(short(0x1195, UID) + sequence, context_id=7) == 0
    assert office.reports == [Report(UID, (ONE,), {})]


def test_what_is_both_committed_and_failed_is_failed(office: Office) -> None:
    assert office.report(data_set(ONE, TWO, failed={ONE: 0x0110}), event_type=2) == 0
    assert office.reports == [Report(UID, (TWO,), {ONE: 0x0110})]


WRONG_COMMANDS = {
    "another SOP class": ({"class_uid": CT}, 0x0118),
    "another instance": ({"instance_uid": "1.2.3"}, 0x0112),
    "an event type of its own": ({"event_type": 3}, 0x0113),
    "no event type": ({"event_type": None}, 0x0113),
}


@pytest.mark.parametrize("case", WRONG_COMMANDS)
def test_a_report_with_a_wrong_command_is_refused(office: Office, case: str) -> None:
    fields, status = WRONG_COMMANDS[case]
    assert office.report(data_set(ONE), **fields) == status
    assert office.reports == []
    office.still_works()


def _nested(depth: int) -> bytes:
    inner = reference(ONE)
    for _ in range(depth):
        inner = item(element(0x0008, 0x1199, inner))
    return uid_element(0x1195, UID) + element(0x0008, 0x1199, inner)


WRONG_DATA_SETS: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "garbage": lambda: b"\xde\xad\xbe\xef" * 50,
    "no Transaction UID": lambda: data_set(ONE)[len(uid_element(0x1195, UID)) :],
    "a Transaction UID that is none": lambda: data_set(ONE, uid="../../etc"),
    "no object at all": lambda: uid_element(0x1195, UID),
    "an object without a UID": lambda: data_set(""),
    "an object whose UID is none": lambda: data_set("'; DROP TABLE deliveries; --"),
    "cut off in an element": lambda: data_set(ONE)[:-3],
    "a sequence longer than the data set": lambda: (
        uid_element(0x1195, UID) + element(0x0008, 0x1199, reference(ONE), length=9999)
    ),
    "an item longer than its sequence": lambda: (
        uid_element(0x1195, UID) + element(0x0008, 0x1199, item(uid_element(0x1155, ONE), length=500))
    ),
    "a sequence without its end": lambda: (
        uid_element(0x1195, UID) + element(0x0008, 0x1199, reference(ONE), length=0xFFFFFFFF)
    ),
    "a sequence of no items": lambda: (
        uid_element(0x1195, UID) + element(0x0008, 0x1199, uid_element(0x1155, ONE))
    ),
    "nested without end": lambda: _nested(40),
    "an element of four gigabytes": lambda: data_set(ONE) + element(0x0010, 0x0010, b"", length=0xFFFFFFFE),
}


@pytest.mark.parametrize("case", WRONG_DATA_SETS)
def test_a_report_with_a_wrong_data_set_is_refused_and_the_next_is_taken(office: Office, case: str) -> None:
    assert office.report(WRONG_DATA_SETS[case]()) == 0x0115
    assert office.reports == []
    office.still_works()


def test_a_report_longer_than_any_is_refused_and_not_kept_in_memory(office: Office) -> None:
    assert office.report(bytes(2_000_000)) == 0x0213
    office.still_works()


def test_a_report_on_a_storage_context_is_refused(office: Office) -> None:
    assert office.report(data_set(ONE), context_id=1) == 0x0211
    assert office.reports == []
    office.still_works()


def test_an_object_on_the_context_of_reports_is_refused(office: Office) -> None:
    ds = small_ct()
    store = command(
        ui(0x0002, CT),
        us(0x0100, 1),
        us(0x0110, 1),
        us(0x0700, 0),
        us(0x0800, 0),
        ui(0x1000, ds.SOPInstanceUID),
    )
    office.stranger.data(pdv(5, COMMAND | LAST, store), pdv(5, LAST, data_set_of(ds)))
    assert office.stranger.reply().status == 0x0122
    office.still_works()


def test_a_node_that_asks_for_no_commitment_does_not_offer_it(gate) -> None:
    stranger = gate.dial().associate(contexts=CONTEXTS)
    stranger.data(pdv(5, COMMAND | LAST, event()))
    assert stranger.abort_source_and_reason() == (2, 6)
    gate.still_works()
