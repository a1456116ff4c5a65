"""A stranger who speaks PS3.8 and PS3.7 by hand, and says whatever a test wants said."""

import socket
import struct
import tempfile
import time
from dataclasses import dataclass
from typing import Any, Self

from pydicom import Dataset
from pydicom.uid import generate_uid

from dae_pacs.demo.phantoms import Study, ct_series

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"

STORE, ECHO, CANCEL = 0x0001, 0x0030, 0x0FFF
WITH_DATA_SET, WITHOUT_DATA_SET = 0x0000, 0x0101
COMMAND, DATA, LAST = 1, 0, 2


def pdu(kind: int, body: bytes = b"", *, length: int | None = None) -> bytes:
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context_id, control) + data


def item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, number, len(value)) + value


def us(number: int, value: int) -> bytes:
    return element(number, struct.pack("<H", value))


def ui(number: int, uid: str) -> bytes:
    value = uid.encode("latin-1")
    return element(number, value + bytes(len(value) % 2))


def command(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return element(0x0000, struct.pack("<I", len(body))) + body


def store_command(ds_uid: str, *, class_uid: str = CT, message_id: int = 1) -> bytes:
    return command(
        ui(0x0002, class_uid),
        us(0x0100, STORE),
        us(0x0110, message_id),
        us(0x0700, 0),
        us(0x0800, WITH_DATA_SET),
        ui(0x1000, ds_uid),
    )


def echo_command(*, message_id: int = 7) -> bytes:
    return command(
        ui(0x0002, VERIFICATION),
        us(0x0100, ECHO),
        us(0x0110, message_id),
        us(0x0800, WITHOUT_DATA_SET),
    )


def association_request(
    contexts: list[tuple[int, str, list[str]]] | None = None,
    *,
    called: bytes = b"DAE_PACS",
    calling: bytes = b"STRANGER",
    version: int = 1,
    application_context: str = "1.2.840.10008.3.1.1.1",
    user_items: bytes = b"",
) -> bytes:
    """Write an A-ASSOCIATE-RQ: context 1 is CT in explicit VR, 3 Verification, unless said otherwise."""
    proposed = contexts or [(1, CT, [EXPLICIT]), (3, VERIFICATION, [IMPLICIT]), (5, CT, [IMPLICIT])]
    body = struct.pack(">Hxx", version) + called.ljust(16) + calling.ljust(16) + bytes(32)
    body += item(0x10, application_context.encode())
    for context_id, abstract, syntaxes in proposed:
        sub = item(0x30, abstract.encode()) + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes)
        body += item(0x20, bytes((context_id, 0, 0, 0)) + sub)
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, b"1.2.3.4") + user_items
    return pdu(0x01, body + item(0x50, user))


@dataclass(frozen=True)
class Reply:
    """A response's command set, as far as tests look at it."""

    field: int
    message_id: int
    status: int
    comment: str
    context_id: int


class Stranger:
    """One TCP connection to the node, and whatever is sent over it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes) -> Self:
        self.socket.sendall(data)
        return self

    def data(self, *values: bytes) -> Self:
        """Send presentation data values in one PDU."""
        return self.send(pdu(0x04, b"".join(values)))

    def exactly(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            part = self.socket.recv(size - len(parts))
            if not part:
                raise EOFError(f"closed after {len(parts)} of {size} bytes")
            parts += part
        return parts

    def next_pdu(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self.exactly(6))
        return kind, self.exactly(length)

    def associate(self, **request: Any) -> Self:
        self.send(association_request(**request))
        kind, _body = self.next_pdu()
        assert kind == 0x02, f"expected A-ASSOCIATE-AC, got PDU type {kind}"
        return self

    def reply(self) -> Reply:
        kind, body = self.next_pdu()
        assert kind == 0x04, f"expected P-DATA-TF, got PDU type {kind}: {body!r}"
        _size, context_id, control = struct.unpack(">IBB", body[:6])
        assert control == COMMAND | LAST
        values = {}
        rest = body[6:]
        while rest:
            group, number, length = struct.unpack("<HHI", rest[:8])
            assert group == 0
            values[number] = rest[8 : 8 + length]
            rest = rest[8 + length :]
        number_of = lambda name: struct.unpack("<H", values[name])[0]  # noqa: E731
        comment = values.get(0x0902, b"").decode("ascii").strip()
        return Reply(number_of(0x0100), number_of(0x0120), number_of(0x0900), comment, context_id)

    def store(self, uid: str, data_set: bytes, *, class_uid: str = CT) -> Reply:
        """Send one object in PDUs of 16 KiB and give the answer."""
        self.data(pdv(1, COMMAND | LAST, store_command(uid, class_uid=class_uid)))
        for start in range(0, len(data_set), 16000):
            last = LAST if start + 16000 >= len(data_set) else 0
            self.data(pdv(1, last, data_set[start : start + 16000]))
        return self.reply()

    def abort_source_and_reason(self) -> tuple[int, int]:
        kind, body = self.next_pdu()
        assert kind == 0x07, f"expected A-ABORT, got PDU type {kind}"
        return body[2], body[3]

    def is_closed(self) -> bool:
        """Tell whether the node closes the connection, within the socket's time-out."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def trickle(self, *parts: bytes, pause_s: float) -> float:
        """Send parts slowly until the node has had enough; gives the seconds that took."""
        started = time.monotonic()
        try:
            for part in parts:
                self.send(part)
                time.sleep(pause_s)
        except (ConnectionError, TimeoutError):
            return time.monotonic() - started
        raise AssertionError(f"the node took all {len(parts)} parts")

    def release(self) -> None:
        self.send(pdu(0x05, bytes(4)))
        kind, body = self.next_pdu()
        assert (kind, body) == (0x06, bytes(4))

    def close(self) -> None:
        self.socket.close()


def small_ct(**elements: Any) -> Dataset:
    """Make a small CT slice under a UID of its own."""
    ds = ct_series(Study(), slices=1, size=32)[0]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def data_set_of(ds: Dataset) -> bytes:
    """Encode a data set in explicit VR little endian, as it crosses the wire."""
    with tempfile.TemporaryFile() as file:
        ds.save_as(file, enforce_file_format=True)
        file.seek(0)
        whole = file.read()
    return whole[144 + int.from_bytes(whole[140:144], "little") :]
