"""The ways in which a series comes from a peer: C-MOVE, C-GET, or QIDO-RS and WADO-RS."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, Final, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydicom.datadict import tag_for_keyword

from dae_pacs import part10
from dae_pacs.dicomweb import json_model
from dae_pacs.dicomweb.client import DicomWeb, Level, Page, Service
from dae_pacs.dicomweb.multipart import ReceivedPart
from dae_pacs.dicomweb.part10_stream import Unwrapping
from dae_pacs.dimse import finding, getting, moving, retrieval_statuses, statuses
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.finding import Bounds, Matches
from dae_pacs.dimse.getting import Receiving
from dae_pacs.dimse.identifiers import UTF_8
from dae_pacs.dimse.reception import Incoming, SpoolFile
from dae_pacs.dimse.refusals import Answer, of_error
from dae_pacs.dimse.retrieval import Progress, Retrieved, Target, Watch
from dae_pacs.errors import InputError, SpoolError
from dae_pacs.image.header import read_header, summarise
from dae_pacs.node.catalogue import Instance, Search, Series

NOT_ASKED_FOR: Final = Answer(statuses.NOT_AUTHORIZED, "not of the series that was asked for")
_LEVELS: Final[Mapping[finding.Level, Level]] = {
    "STUDY": "studies",
    "SERIES": "series",
    "IMAGE": "instances",
}
_PAGE: Final = 500
"""Results of one QIDO-RS request."""


class Way(Protocol):
    """How a peer is asked what it has, and for it."""

    def search(self, may_go_on: Callable[[], bool]) -> AbstractContextManager[Search]:
        """Give what asks the peer, for as long as the context is open."""
        ...

    def fetch(
        self, series: Series, instances: Sequence[Instance], *, is_part: bool, watch: Watch
    ) -> Retrieved:
        """Have a series, or some objects of it, come here.

        Args:
            series: which.
            instances: its objects, as far as they are known.
            is_part: only those objects are wanted.
            watch: looks on, and may end it.

        Raises:
            PeerError: the peer can't be reached, or broke off; what came is kept.
        """
        ...


@dataclass(frozen=True)
class Dicom:
    """A peer that is asked over DICOM's own protocol, and how we call ourselves."""

    peer: PeerAddress
    calling_ae: str
    character_set: str = UTF_8

    def search(self, may_go_on: Callable[[], bool]) -> AbstractContextManager[Search]:
        """Associate for queries."""
        return finding.finder(
            self.peer, calling_ae=self.calling_ae, character_set=self.character_set, may_go_on=may_go_on
        )


@dataclass(frozen=True)
class ByMove:
    """The peer sends to an AE title that it knows."""

    dicom: Dicom
    destination: str

    def search(self, may_go_on: Callable[[], bool]) -> AbstractContextManager[Search]:
        """Associate for queries."""
        return self.dicom.search(may_go_on)

    def fetch(
        self, series: Series, instances: Sequence[Instance], *, is_part: bool, watch: Watch
    ) -> Retrieved:
        """Ask for a C-MOVE."""
        return moving.move(
            self.dicom.peer,
            _target(series, instances if is_part else ()),
            calling_ae=self.dicom.calling_ae,
            destination=self.destination,
            watch=watch,
        )


@dataclass(frozen=True)
class ByGet:
    """The peer sends over the association that asks."""

    dicom: Dicom
    receiving: Receiving

    def search(self, may_go_on: Callable[[], bool]) -> AbstractContextManager[Search]:
        """Associate for queries."""
        return self.dicom.search(may_go_on)

    def fetch(
        self, series: Series, instances: Sequence[Instance], *, is_part: bool, watch: Watch
    ) -> Retrieved:
        """Ask for a C-GET."""
        return getting.get(
            self.dicom.peer,
            _target(series, instances if is_part else ()),
            only_of(series, self.receiving),
            sop_classes=[one.SOPClassUID for one in instances if one.SOPClassUID],
            watch=watch,
        )


@dataclass(frozen=True)
class ByWeb:
    """A DICOMweb service is asked, and answers."""

    name: str
    service: Service
    receiving: Receiving

    @contextmanager
    def search(self, may_go_on: Callable[[], bool]) -> Iterator[Search]:
        """Open a connection for searches."""
        with DicomWeb(self.service) as web:
            self.receiving.on_open(web.cut)
            yield _WebSearch(web, may_go_on)

    def fetch(
        self, series: Series, instances: Sequence[Instance], *, is_part: bool, watch: Watch
    ) -> Retrieved:
        """Retrieve a series, or its objects one by one."""
        uids = [one.SOPInstanceUID for one in instances] if is_part else [""]
        taking = _Taking(self, only_of(series, self.receiving), watch)
        with DicomWeb(self.service) as web:
            self.receiving.on_open(web.cut)
            try:
                for uid in uids:
                    if not watch.may_go_on():
                        return Retrieved(retrieval_statuses.CANCELLED, taking.progress, "cancelled")
                    with web.retrieve(series.StudyInstanceUID, series.SeriesInstanceUID, uid) as parts:
                        if not taking.all(parts):
                            return Retrieved(retrieval_statuses.CANCELLED, taking.progress, "cancelled")
            finally:
                taking.end()
        failed = taking.progress.failed
        status = retrieval_statuses.SOME_FAILED if failed else statuses.SUCCESS
        return Retrieved(status, taking.progress, f"{failed} objects could not be kept" if failed else "")


def _target(series: Series, instances: Sequence[Instance]) -> Target:
    uids = tuple(one.SOPInstanceUID for one in instances)
    return Target(series.StudyInstanceUID, series.SeriesInstanceUID, uids, series.PatientID)


@runtime_checkable
class _Readable(Protocol):
    """A file of an arriving object that can be looked at before it is kept."""

    def reading(self) -> AbstractContextManager[BinaryIO]:
        """Open what was written so far."""
        ...


def only_of(series: Series, receiving: Receiving) -> Receiving:
    """Take nothing but objects of the series that was asked for."""

    def keep(incoming: Incoming) -> Answer:
        if isinstance(incoming.file, _Readable):
            with incoming.file.reading() as file:
                found = summarise(read_header(file))
            if (found.StudyInstanceUID, found.SeriesInstanceUID) != wanted:
                incoming.file.discard()
                return NOT_ASKED_FOR
        return receiving.store.keep(incoming)

    wanted = (series.StudyInstanceUID, series.SeriesInstanceUID)
    return replace(receiving, store=replace(receiving.store, keep=keep))


class _WebSearch:
    """QIDO-RS, asked as a C-FIND is."""

    is_patient_root = False

    def __init__(self, web: DicomWeb, may_go_on: Callable[[], bool]) -> None:
        self._web = web
        self._may_go_on = may_go_on

    def find(self, level: finding.Level, keys: Mapping[str, str], bounds: Bounds) -> Matches:
        """Search page by page, up to the bounds."""
        path = [
            key for key in ("StudyInstanceUID", "SeriesInstanceUID") if level != "STUDY" and keys.get(key)
        ]
        within = [keys[key] for key in path]
        match = {key: value for key, value in keys.items() if value and key not in path}
        fields = [key for key, value in keys.items() if not value]
        found: list[Mapping[str, str]] = []
        while self._may_go_on():
            page = Page(min(_PAGE, bounds.most + 1 - len(found)), len(found))
            items = self._web.search(_LEVELS[level], match, within=within, fields=fields, page=page)
            found += [_texts(item, keys) for item in items[: page.limit]]
            if len(items) < page.limit:
                return Matches(tuple(found))
            if len(found) > bounds.most:
                return Matches(tuple(found[: bounds.most]), is_cut=True)
        return Matches(tuple(found), is_cut=True)


def _texts(item: json_model.Json, keys: Mapping[str, str]) -> Mapping[str, str]:
    return {key: json_model.text(item, f"{tag_for_keyword(key) or 0:08X}") for key in keys}


class _Taking:
    """Objects that come in one WADO-RS answer, each into a file of its own."""

    def __init__(self, way: ByWeb, receiving: Receiving, watch: Watch) -> None:
        self._way = way
        self._receiving = receiving
        self._watch = watch
        self._association = uuid.uuid4().hex
        self.progress = Progress()

    def all(self, parts: Iterator[ReceivedPart]) -> bool:
        """Take every part; False where it was ended before."""
        for part in parts:
            is_kept = self._one(part)
            self.progress = replace(
                self.progress,
                completed=self.progress.completed + is_kept,
                failed=self.progress.failed + (not is_kept),
            )
            self._watch.on_progress(self.progress)
            if not self._watch.may_go_on():
                return False
        return True

    def end(self) -> None:
        """Say that no more objects come."""
        if self.progress.completed:
            self._receiving.association_ended(self._association)

    def _one(self, part: ReceivedPart) -> bool:
        """Take one object; False where it is none of those that are kept."""
        try:
            return self._kept(part)
        except (InputError, SpoolError, OSError) as error:
            of_error(error, association=self._association)
            for _rest in part.chunks:
                pass
            return False

    def _kept(self, part: ReceivedPart) -> bool:
        """Write one object as it comes, and have it kept; nothing is left of one that does not come whole."""
        unwrapping, size_bytes = Unwrapping(), 0
        file: SpoolFile | None = None
        with ExitStack() as held:
            for chunk in part.chunks:
                data = unwrapping.feed(chunk)
                if unwrapping.meta is not None and file is None:
                    file = self._opened(unwrapping.meta)
                    held.callback(file.discard)  # harmless once it is kept
                size_bytes += len(data)
                if size_bytes > self._receiving.store.max_object_bytes:
                    raise InputError("an object larger than this node takes")
                if file is not None and data:
                    file.write(data)
            if file is None:
                raise InputError("an object without a data set")
            answer = self._receiving.store.keep(self._incoming(unwrapping.close(), file))
        return answer.status == statuses.SUCCESS

    def _opened(self, meta: part10.FileMeta) -> SpoolFile:
        file = self._receiving.store.open_file()
        file.write(part10.encode(meta, calling_ae=self._calling_ae, called_ae=self._receiving.called_ae))
        return file

    @property
    def _calling_ae(self) -> str:
        return self._way.name[:16]

    def _incoming(self, meta: part10.FileMeta, file: SpoolFile) -> Incoming:
        return Incoming(
            calling_ae=self._calling_ae,
            called_ae=self._receiving.called_ae,
            address=urlsplit(self._way.service.url).hostname or "",
            association=self._association,
            SOPClassUID=meta.SOPClassUID,
            SOPInstanceUID=meta.SOPInstanceUID,
            transfer_syntax_uid=meta.transfer_syntax_uid,
            file=file,
        )
