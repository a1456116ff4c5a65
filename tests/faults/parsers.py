"""The parsers behind the socket, called as the node calls them; what they raise must be ours."""

import time
import warnings
from pathlib import Path

from grammar import Input
from pydicom import Dataset
from stranger import CT, EXPLICIT, IMPLICIT

from dae_pacs.config.model import ModelSettings, Rule
from dae_pacs.dimse import acceptor, commands
from dae_pacs.errors import InputError, ProtocolError
from dae_pacs.image import files, walk
from dae_pacs.image.header import identity_of, read_header, summarise
from dae_pacs.image.pixels import decode_run, open_image
from dae_pacs.node.routing import decide

DEADLINE_S = 5.0
RULES = (
    Rule(name="never", when={"ImageType": "NOTHING*", "CallingAETitle": "*"}, action="keep"),
    Rule(name="text", when={"PatientName": "none", "SeriesDescription": "none"}, action="keep"),
    Rule(name="number", when={"Rows": "1", "WindowCenter": "1", "NumberOfFrames": "77"}, action="keep"),
    Rule(name="uid", when={"SOPClassUID": "CT Image Storage", "StudyDate": "19*"}, action="keep"),
    Rule(name="rest", when={"Modality": "*"}, action="keep"),
)


class WalkError(Exception):
    """The quick walk took for whole what the parser refuses, or for another object than the parser does."""


_META = bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00"


def trouble_with(given: Input, folder: Path) -> str:
    """Say what is wrong with how the parsers took an input; "" where nothing is."""
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, about values that are wrong on purpose
            _take(given, folder)
    except Exception as error:  # noqa: BLE001 - that any comes is the finding
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else ""
        return f"{type(error).__name__} at {place} out of a parser"
    seconds = time.process_time() - started
    return f"a parser took {seconds:.1f} s" if seconds > DEADLINE_S else ""


def _take(given: Input, folder: Path) -> None:
    messages: dict[int, tuple[bytearray, bytearray]] = {}
    for part in given.parts:
        if part[:1] == b"\x01" and len(part) > 6:
            _associate(part[6:])
        elif part[:1] == b"\x04" and len(part) > 12:
            command, data = messages.setdefault(part[10], (bytearray(), bytearray()))
            (command if part[11] & 1 else data).extend(part[12:])
    for context_id, (command, data) in messages.items():
        _parse_command(bytes(command))
        _parse_data_set(bytes(data), EXPLICIT if context_id != 5 else IMPLICIT, folder)


def _associate(body: bytes) -> None:
    try:
        proposal = acceptor.read(body)
        acceptor.refusal(proposal)
        acceptor.Acceptor(max_pdu_bytes=131072).agree(proposal)
    except ProtocolError:
        return


def _parse_command(command: bytes) -> None:
    try:
        parsed = commands.parse(command)
    except ProtocolError:
        return
    commands.uid_fault(parsed.sop_instance_uid)
    commands.response(parsed, status=0, comment="")


def _parse_data_set(data: bytes, syntax: str, folder: Path) -> None:
    """Read a data set as the receiver does, route it, and decode what the worker would decode."""
    path = folder / "object.dcm"
    path.write_bytes(_part10(data, syntax))
    walked = walk.identify(data[: walk.MOST_BYTES], len(data), transfer_syntax_uid=syntax)
    try:
        with path.open("rb") as file:
            header = read_header(file)
    except InputError:
        if walked is not None:
            raise WalkError from None
        return
    if walked is not None and walked != identity_of(header) and not _uid_fault(walked):
        raise WalkError
    try:
        summary = summarise(header)
        _route(header)
        if summary.reason is None:
            image = open_image(files.open_object(path))
            for first, stop in list(image.layout.runs())[:2]:
                decode_run(image, first, stop)
    except InputError:
        return


def _uid_fault(identity: walk.Identity) -> str:
    """Say what is wrong with an object's UIDs: no command that names such ones is taken."""
    return commands.uid_fault(identity.SOPClassUID) or commands.uid_fault(identity.SOPInstanceUID)


def _route(header: Dataset) -> None:
    decide(header, summarise(header), calling_ae="A", called_ae="B", rules=RULES, model=ModelSettings())


def _part10(data: bytes, syntax: str) -> bytes:
    meta = b"".join(_ui(number, uid) for number, uid in ((0x0002, CT), (0x0003, "1.2.3"), (0x0010, syntax)))
    return _META + len(meta).to_bytes(4, "little") + meta + data


def _ui(number: int, uid: str) -> bytes:
    value = uid.encode() + bytes(len(uid) % 2)
    head = (0x0002).to_bytes(2, "little") + number.to_bytes(2, "little") + b"UI"
    return head + len(value).to_bytes(2, "little") + value
