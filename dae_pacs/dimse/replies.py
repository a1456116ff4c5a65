"""The data set of an answer of the peer's, while it arrives among objects (C-GET, PS3.7 9.1.3)."""

from collections.abc import Callable

from dae_pacs.dimse import statuses
from dae_pacs.dimse.inbox import MAX_DATA_SET_BYTES
from dae_pacs.dimse.refusals import Answer
from dae_pacs.errors import ProtocolError


class ReplyReception:
    """Collects an answer's data set in memory, bounded; it stands where a C-STORE's reception does."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._data = bytearray()

    def write(self, data: memoryview) -> None:
        """Take the next bytes.

        Raises:
            ProtocolError: it is longer than any real one.
        """
        if len(self._data) + len(data) > MAX_DATA_SET_BYTES:
            raise ProtocolError("an answer longer than any real one")
        self._data += data

    def finish(self) -> Answer:
        """Hand it on; nothing is answered to an answer."""
        self._take(bytes(self._data))
        return Answer(statuses.SUCCESS)

    def drop(self) -> None:
        """Forget what came."""
        self._data.clear()
