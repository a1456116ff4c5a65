"""An archive of another make (pynetdicom's) that does what a test tells it, good or bad."""

import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom import Dataset
from pydicom.uid import CTImageStorage
from pynetdicom import AE, evt

from dae_pacs.dimse.addresses import PeerAddress

_UNIQUE = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}


@contextmanager
def archive(
    *classes: str, tls: ssl.SSLContext | None = None, **handlers: Callable[..., Any]
) -> Iterator[PeerAddress]:
    """Run an archive for some SOP classes: `find=`, `get=`, `move=`, each a generator of an event."""
    ae = AE("SCRIPTED")
    ae.maximum_pdu_size = 0
    for uid in classes:
        ae.add_supported_context(uid)
    ae.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
    events = {"find": evt.EVT_C_FIND, "get": evt.EVT_C_GET, "move": evt.EVT_C_MOVE}
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        ssl_context=tls,
        evt_handlers=[(events[name], handler) for name, handler in handlers.items()],
    )
    try:
        yield PeerAddress("SCRIPTED", "127.0.0.1", server.server_address[1], 5.0, 5.0)
    finally:
        server.shutdown()


def find_among(objects: Sequence[Dataset]) -> Callable[[Any], Iterator[tuple[int, Dataset | None]]]:
    """Give a handler that answers queries from objects, as an honest archive does."""

    def find(event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        level = asked.QueryRetrieveLevel
        uids = [asked.get(keyword, "") for keyword in ("PatientID", *_UNIQUE.values())]
        seen = set()
        for ds in objects:
            own = [ds.PatientID, ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID]
            unique = ds[_UNIQUE[level]].value
            if unique in seen or any(want and want != has for want, has in zip(uids, own, strict=True)):
                continue
            seen.add(unique)
            answer = Dataset()
            answer.QueryRetrieveLevel = level
            for elem in asked:
                if elem.keyword in ds and elem.keyword != "QueryRetrieveLevel":
                    answer[elem.tag] = ds[elem.tag]
            if level == "SERIES":
                count = sum(one.SeriesInstanceUID == ds.SeriesInstanceUID for one in objects)
                answer.NumberOfSeriesRelatedInstances = count
            yield 0xFF00, answer

    return find


def get_among(objects: Sequence[Dataset]) -> Callable[[Any], Iterator[Any]]:
    """Give a handler that sends what is asked for, a series or objects of it."""

    def get(event: Any) -> Iterator[Any]:
        asked = event.identifier
        uids = asked.get("SOPInstanceUID", [])
        named = [uids] if isinstance(uids, str) else list(uids)
        wanted = [
            ds
            for ds in objects
            if ds.SeriesInstanceUID == asked.SeriesInstanceUID and (not named or ds.SOPInstanceUID in named)
        ]
        yield len(wanted)
        for ds in wanted:
            yield 0xFF00, ds

    return get
