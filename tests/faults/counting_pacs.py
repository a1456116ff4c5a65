"""A PACS that takes everything and forgets nothing: which object came, when, and with which bytes."""

import hashlib
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt


@dataclass(frozen=True)
class Arrival:
    """One C-STORE that was answered with success."""

    life: int
    """Of the node: it grows with every kill."""
    uid: str
    digest: str
    """SHA-256 of the whole data set."""
    pixels: str
    """SHA-256 of the pixel data."""
    source: str
    """The SOP Instance UID that a derived object names as its source; "" for an original."""


@dataclass(frozen=True)
class Verdict:
    """What the arrivals say of the objects that were acknowledged."""

    lost: tuple[str, ...]
    """Acknowledged, and its original or its derived object did not come, or came with other pixels."""
    doubled: tuple[str, ...]
    """A UID came with two contents, or twice within one life of the node, or a source got two results."""
    repeats: int
    """The same object once more, the same bytes, in a later life: a kill fell between sending and marking."""


class CountingPacs:
    """A storage SCP of pynetdicom's."""

    ae_title = "COUNTER"

    def __init__(self) -> None:
        self.life = 0
        self.arrivals: list[Arrival] = []
        self._lock = threading.Lock()
        ae = AE(ae_title=self.ae_title)
        ae.maximum_associations = 50
        ae.add_supported_context(CTImageStorage, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        self._server = ae.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._take)]
        )

    @property
    def port(self) -> int:
        return int(self._server.socket.getsockname()[1])

    def _take(self, event: Any) -> int:
        ds = event.dataset
        sources = ds.get("SourceImageSequence") or ()
        arrival = Arrival(
            self.life,
            str(ds.SOPInstanceUID),
            hashlib.sha256(event.request.DataSet.getvalue()).hexdigest(),
            hashlib.sha256(ds.PixelData).hexdigest(),
            str(sources[0].ReferencedSOPInstanceUID) if sources else "",
        )
        with self._lock:
            self.arrivals.append(arrival)
        return 0x0000

    def missing(self, acknowledged: Iterable[str]) -> set[str]:
        """Give the acknowledged UIDs whose original or derived object has not come yet."""
        with self._lock:
            arrivals = list(self.arrivals)
        originals = {arrival.uid for arrival in arrivals if not arrival.source}
        sources = {arrival.source for arrival in arrivals}
        return {uid for uid in acknowledged if uid not in originals or uid not in sources}

    def judge(self, acknowledged: dict[str, str]) -> Verdict:
        """Hold all arrivals against what was acknowledged.

        Args:
            acknowledged: the SHA-256 of the pixel data of each object, by its UID.
        """
        lost = self.missing(acknowledged)
        contents: dict[str, set[str]] = defaultdict(set)
        results: dict[str, set[str]] = defaultdict(set)
        for arrival in self.arrivals:
            contents[arrival.uid].add(arrival.digest)
            if arrival.source:
                results[arrival.source].add(arrival.uid)
            elif acknowledged.get(arrival.uid, arrival.pixels) != arrival.pixels:
                lost.add(arrival.uid)
        in_one_life = Counter((arrival.life, arrival.uid) for arrival in self.arrivals)
        doubled = {uid for uid, digests in contents.items() if len(digests) > 1}
        doubled |= {source for source, uids in results.items() if len(uids) > 1}
        doubled |= {uid for (_life, uid), count in in_one_life.items() if count > 1}
        return Verdict(tuple(sorted(lost)), tuple(sorted(doubled)), len(self.arrivals) - len(contents))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
