"""The established association: PDUs in, messages put together, answers out (PS3.8 9.2, PS3.7 6.3).

One loop in one thread. A data set's bytes go from the socket's buffer to the object's file; a command set,
which is bounded, is the only thing that is collected in memory.
"""

import time
from collections.abc import Callable
from typing import Final

from dae_pacs.dimse import commands, messages, pdus, statuses
from dae_pacs.dimse.acceptor import Agreement, Context
from dae_pacs.dimse.commands import Command
from dae_pacs.dimse.commitment import ReportReception
from dae_pacs.dimse.contexts import VERIFICATION
from dae_pacs.dimse.reception import Reception
from dae_pacs.dimse.refusals import Answer
from dae_pacs.dimse.replies import ReplyReception
from dae_pacs.dimse.settings import ScpSettings
from dae_pacs.dimse.wire import Wire
from dae_pacs.errors import ProtocolError
from dae_pacs.failpoints import reach

AnyReception = Reception | ReportReception | ReplyReception
Begin = Callable[[Command, Context], AnyReception | None]
"""Opens the reception of one object or report; None where such is not taken."""
TakeReply = Callable[[bytes, bytes], bool]
"""Takes an answer to what we asked on this association, its command set and its data set; says whether more
is to come."""

_UNRECOGNIZED: Final = Answer(statuses.UNRECOGNIZED_OPERATION, "this node does not offer that")
_NOT_VERIFICATION: Final = Answer(
    statuses.CLASS_NOT_SUPPORTED, "C-ECHO on a presentation context that is not Verification"
)
_SUCCESS: Final = Answer(statuses.SUCCESS)
_SLACK_BYTES: Final = pdus.HEAD.size
"""Some senders count a PDU's head into the maximum length, though PS3.8 D.1 does not."""


class Conversation:
    """What is said on one association, from its acceptance to its release; for one thread."""

    def __init__(
        self,
        wire: Wire,
        agreement: Agreement,
        *,
        settings: ScpSettings,
        begin: Begin,
        take_reply: TakeReply | None = None,
    ) -> None:
        """Prepare to listen.

        Args:
            wire: the connection.
            agreement: what was negotiated.
            settings: the bounds, and the time-outs.
            begin: opens receptions.
            take_reply: where we have asked something ourselves (C-GET) takes the answers, and ends it all.
        """
        self._take_reply = take_reply
        self._is_answered = False
        self._wire = wire
        self._contexts = agreement.contexts
        self._peer_pdu_bytes = agreement.max_pdu_bytes
        self._settings = settings
        self._begin = begin
        self._command = bytearray()
        self._context: Context | None = None
        """The context of the message under way; None between messages."""
        self._message_ends_by = 0.0
        self._request: Command | None = None
        """The command whose data set is arriving."""
        self._reception: AnyReception | None = None

    def run(self) -> str:
        """Listen and answer until the peer ends the association; says how: "released" or "aborted".

        Where we have asked something ourselves, it ends with the last answer to that: "answered".

        Raises:
            PeerGoneError: the connection ended, or the peer was silent or slow for too long.
            ProtocolError: the association must be aborted.
        """
        try:
            while not self._is_answered:
                kind, length = self._next_pdu()
                if kind == pdus.P_DATA_TF:
                    self._take_data(length)
                elif kind == pdus.A_RELEASE_RQ:
                    self._skip_control(length)
                    return "released"
                elif kind == pdus.A_ABORT:
                    self._skip_control(length)
                    return "aborted"
                elif kind in pdus.KNOWN:
                    raise ProtocolError("a PDU that has no place here", reason=pdus.UNEXPECTED_PDU)
                else:
                    raise ProtocolError("a PDU of unknown type", reason=pdus.UNRECOGNIZED_PDU)
            return "answered"
        finally:
            if self._reception is not None:
                self._reception.drop()

    def _next_pdu(self) -> tuple[int, int]:
        """Wait for a PDU's head; the rest of it must follow within the time for a PDU."""
        now = time.monotonic()
        if self._context is None:
            self._wire.expect_by(now + self._settings.network_timeout_s)
        else:
            self._wire.expect_by(min(now + self._settings.dimse_timeout_s, self._message_ends_by))
        self._wire.fill(1)
        ends_by = time.monotonic() + self._settings.pdu_timeout_s
        if self._context is not None:
            ends_by = min(ends_by, self._message_ends_by)
        self._wire.expect_by(ends_by)
        kind, length = self._wire.unpack(pdus.HEAD)
        return kind, length

    def _skip_control(self, length: int) -> None:
        if length != pdus.CONTROL_BYTES:
            raise ProtocolError("a release or abort of odd length", reason=pdus.INVALID_PARAMETER)
        self._wire.exactly(length)

    def _take_data(self, length: int) -> None:
        """Take one P-DATA-TF PDU: one or more fragments of messages (PS3.8 9.3.5)."""
        if length > self._settings.max_pdu_bytes + _SLACK_BYTES:
            raise ProtocolError("a PDU longer than negotiated", reason=pdus.INVALID_PARAMETER)
        if not length:
            raise ProtocolError("a P-DATA-TF PDU without a value", reason=pdus.INVALID_PARAMETER)
        while length:
            if length < pdus.PDV_HEAD.size:
                raise ProtocolError("a PDU that ends inside a value's head", reason=pdus.INVALID_PARAMETER)
            counted, context_id, control = self._wire.unpack(pdus.PDV_HEAD)
            size = counted - pdus.PDV_COUNTED
            length -= pdus.PDV_HEAD.size
            if not 0 <= size <= length:
                raise ProtocolError("a value longer than its PDU", reason=pdus.INVALID_PARAMETER)
            self._take_fragment(context_id, control, size)
            length -= size

    def _take_fragment(self, context_id: int, control: int, size: int) -> None:
        context = self._contexts.get(context_id)
        if context is None:
            raise ProtocolError("a context that was not accepted", reason=pdus.INVALID_PARAMETER)
        if self._context is None:
            self._context = context
            self._message_ends_by = time.monotonic() + self._settings.object_timeout_s
        elif context is not self._context:
            raise ProtocolError("two contexts in one message", reason=pdus.INVALID_PARAMETER)
        if bool(control & pdus.COMMAND) is (self._request is not None):
            raise ProtocolError(
                "a command where a data set was due, or the other way round", reason=pdus.INVALID_PARAMETER
            )
        if control & pdus.COMMAND:
            self._take_command(context, size, is_last=bool(control & pdus.LAST))
        else:
            self._take_data_set(size, is_last=bool(control & pdus.LAST))

    def _take_command(self, context: Context, size: int, *, is_last: bool) -> None:
        if len(self._command) + size > commands.MAX_BYTES:
            raise ProtocolError("a command set longer than any real one", reason=pdus.INVALID_PARAMETER)
        self._command += self._wire.exactly(size)
        if not is_last:
            return
        data = bytes(self._command)
        self._command.clear()
        if self._take_reply is not None and commands.peek(data)[0] & commands.RESPONSE:
            self._begin_reply(data, self._take_reply)
            return
        request = commands.parse(data)
        if request.has_data_set:
            self._request = request
            if request.field in {commands.C_STORE_RQ, commands.N_EVENT_REPORT_RQ}:
                self._reception = self._begin(request, context)
        elif request.field == commands.C_STORE_RQ:
            self._answer(request, Answer(statuses.CANNOT_UNDERSTAND, "no data set"))
        elif request.field == commands.C_CANCEL_RQ:
            self._context = None  # nothing that could be cancelled is ever under way (PS3.7 9.3.2.3)
        elif request.field == commands.C_ECHO_RQ:
            is_echo = context.sop_class_uid == VERIFICATION
            self._answer(request, _SUCCESS if is_echo else _NOT_VERIFICATION)
        else:
            self._answer(request, _UNRECOGNIZED)

    def _begin_reply(self, command: bytes, take_reply: TakeReply) -> None:
        """Take an answer, or open what collects its data set first."""
        field, has_data_set = commands.peek(command)

        def take(data_set: bytes) -> None:
            self._is_answered = not take_reply(command, data_set)

        if has_data_set:
            self._request = Command(field, 0, "", "", has_data_set=True)
            self._reception = ReplyReception(take)
        else:
            self._context = None
            take(b"")

    def _take_data_set(self, size: int, *, is_last: bool) -> None:
        reception, wire = self._reception, self._wire
        while size:
            part = wire.some(size)
            if reception is not None:
                reception.write(part)
            size -= len(part)
        if not is_last or self._request is None:
            return
        answer = reception.finish() if reception is not None else _UNRECOGNIZED
        self._reception = None
        self._answer(self._request, answer)

    def _answer(self, request: Command, answer: Answer) -> None:
        """Send a response, and be ready for the next message."""
        context, self._context, self._request = self._context, None, None
        if context is None or request.field == commands.C_CANCEL_RQ or request.field & commands.RESPONSE:
            return
        self._wire.send(
            messages.command_pdus(
                commands.response(request, status=answer.status, comment=answer.comment),
                context_id=context.context_id,
                max_pdu_bytes=self._peer_pdu_bytes,
            ),
            timeout_s=self._settings.dimse_timeout_s,
        )
        if request.field == commands.C_STORE_RQ:
            reach("receive.answered")
