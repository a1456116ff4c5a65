"""The user agent: Store, Search and Retrieve at another DICOMweb service (PS3.18 10.4 to 10.6).

Bodies are streams both ways. Nothing is tried twice: that is the caller's to decide, by the error.
"""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from urllib.parse import quote

from dae_pacs.dicomweb import media, multipart
from dae_pacs.dicomweb.json_model import Json
from dae_pacs.dicomweb.multipart import Part, ReceivedPart
from dae_pacs.dicomweb.storing import Stored, read_response
from dae_pacs.errors import PeerError, PeerGoneError, ProtocolError, RequestError
from dae_pacs.identity import IMPLEMENTATION_VERSION_NAME

# Imports inside functions: httpx takes 10 MB and 0.1 s, which a node without such services need not spend.
# ruff: noqa: PLC0415

if TYPE_CHECKING:
    import httpx

STORED_AS_IT_IS: Final = "*"
"""A transfer syntax: whichever the object has there."""
_LARGEST_JSON_BYTES: Final = 256 << 20
_LARGEST_STORE_ANSWER_BYTES: Final = 16 << 20
_LONGEST_RETRY_AFTER_S: Final = 3600.0
_PIECE_BYTES: Final = 1 << 17

Level = Literal["studies", "series", "instances"]


class WebStatusError(PeerError):
    """A service answered with a status that is no success."""

    def __init__(self, message: str, *, status: int, retry_after_s: float | None = None) -> None:
        """Keep the words, the status, and after how many seconds the service wants to be asked again."""
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s

    @property
    def is_passing(self) -> bool:
        """Whether the same request may succeed later: the service is busy, down, or does not let us in."""
        return self.status in (401, 403, 404, 408, 425, 429) or self.status >= 500

    @property
    def is_about_query(self) -> bool:
        """Whether the service objects to what is searched for, and so will another time."""
        return self.status in (400, 413, 414, 422)

    @property
    def may_spare_others(self) -> bool:
        """Whether the service refuses this search for now, and another one perhaps not."""
        return self.status == 403


@dataclass(frozen=True)
class Page:
    """Some of a search's results."""

    limit: int
    offset: int = 0


@dataclass(frozen=True)
class Timeouts:
    """How long each phase of a request may take."""

    connect_s: float = 10.0
    write_s: float = 30.0
    """For the service to take the next piece."""
    read_s: float = 60.0
    """For the service to give the next piece, the first one included."""
    whole_s: float = 600.0
    """For all of an answer that is read whole, as a search's: it may come in small pieces without end."""


@dataclass(frozen=True)
class Service:
    """Where a service is, and how it is called."""

    url: str
    """The service's root, as in https://pacs/dicom-web."""
    tls: Callable[[], ssl.SSLContext] | None = None
    """Gives how it is verified, and our certificate; without it, by the system's authorities."""
    authorization: Callable[[], str] | None = field(default=None, repr=False)
    """Gives the Authorization header's value."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    tls_name: str = ""
    """The name that its certificate must bear, where that is not the URL's host."""


@dataclass(frozen=True)
class ToStore:
    """One object to send: how long it is, and its Part 10 file in pieces."""

    size_bytes: int
    read: Callable[[], Iterable[bytes]]


@dataclass(frozen=True)
class StoreAnswer:
    """What a service says to a Store request."""

    status: int
    """200 where it has stored all, 202 or 409 where it has not."""
    stored: Sequence[Stored]
    """What it says of each object, in its own order; a service that stored all may say nothing."""


class DicomWeb:
    """A connection to one service; for one thread at a time."""

    def __init__(self, service: Service) -> None:
        import httpx

        self._service = service
        self._url = service.url.rstrip("/")
        self._socket: socket.socket | None = None
        self._is_cut = False
        timeouts = service.timeouts
        self._client = httpx.Client(
            verify=service.tls() if service.tls else True,
            timeout=httpx.Timeout(
                connect=timeouts.connect_s, write=timeouts.write_s, read=timeouts.read_s, pool=None
            ),
            headers={"User-Agent": IMPLEMENTATION_VERSION_NAME},
            follow_redirects=False,  # a password goes where the configuration says, and nowhere else
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def cut(self) -> None:
        """End every wait of the connection's thread, and let it ask for nothing more. For other threads."""
        self._is_cut = True
        self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # nothing waits at one that is closed
                # Not SSLSocket's own, after which the thread would go on without TLS.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _note_socket(self, event: str, info: Mapping[str, Any]) -> None:  # Any: httpcore tells what it likes
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._is_cut:
                self._shut()

    def search(
        self,
        level: Level,
        match: Mapping[str, str] | None = None,
        *,
        within: Sequence[str] = (),
        fields: Sequence[str] = (),
        page: Page | None = None,
    ) -> list[Json]:
        """Search for studies, series or instances (QIDO-RS, PS3.18 10.6).

        Args:
            level: what to search for.
            match: by keyword or tag, as in {"PatientID": "4711", "StudyDate": "20260101-"}.
            within: the Study Instance UID, or that and the Series Instance UID, to search within.
            fields: more elements to tell, by keyword or tag; "all" for all.
            page: which of the results; without it as many as the service gives.

        Raises:
            PeerError: the service can't be reached, refuses, or answers what is no search result.
        """
        query = [*(match or {}).items(), *(("includefield", name) for name in fields)]
        if page is not None:
            query += [("limit", str(page.limit)), ("offset", str(page.offset))]
        return self._json(f"{_path(*within)}/{level}", query)

    def metadata(self, study: str, series: str = "", instance: str = "") -> list[Json]:
        """Retrieve the metadata of a study's, a series' or one instance (PS3.18 10.4.1.1.2).

        Raises:
            PeerError: as in `search`.
        """
        return self._json(_path(study, series, instance) + "/metadata", [])

    @contextmanager
    def retrieve(
        self, study: str, series: str = "", instance: str = "", *, transfer_syntax: str = STORED_AS_IT_IS
    ) -> Iterator[Iterator[ReceivedPart]]:
        """Retrieve instances as Part 10 files, one part each, in the order in which they come (WADO-RS).

        Read each part's `chunks` before asking for the next.

        Raises:
            PeerError: the service can't be reached, refuses, or breaks off.
        """
        accept = f'multipart/related; type="{media.DICOM}"; transfer-syntax={transfer_syntax}'
        with self._ask("GET", _path(study, series, instance), headers={"Accept": accept}) as answer:
            yield self._parts(answer)

    def store(self, objects: Sequence[ToStore], *, study: str = "") -> StoreAnswer:
        """Store instances in one request (STOW-RS, PS3.18 10.5).

        Raises:
            WebStatusError: it refused the whole request.
            PeerError: it can't be reached, or its answer can't be read.
        """
        boundary = multipart.new_boundary()
        parts = [Part(media.DICOM, one.read(), one.size_bytes) for one in objects]
        headers = {
            "Accept": media.JSON,
            "Content-Type": multipart.related(media.DICOM, boundary),
            "Content-Length": str(multipart.size_of(parts, boundary)),
        }
        path = _path(study) if study else "/studies"
        body = multipart.write(parts, boundary)
        with self._ask("POST", path, headers=headers, content=body, good=(200, 202, 409)) as answer:
            said = self._read_all(answer, _LARGEST_STORE_ANSWER_BYTES)
            try:
                stored = read_response(said)
            except RequestError as error:
                if answer.status_code != 200:
                    raise self._refused(answer) from error
                stored = []
            # A proxy's page is a 200, too, and whoever believes it deletes what nobody else has.
            is_of_dicom = "dicom" in answer.headers.get("Content-Type", "").lower()
            if answer.status_code == 200 and not stored and said.strip() and not is_of_dicom:
                raise ProtocolError(f"{self._url}: answered 200 with something that is no Store response")
            return StoreAnswer(answer.status_code, stored)

    def _json(self, path: str, query: Sequence[tuple[str, str]]) -> list[Json]:
        accept = {"Accept": f"{media.JSON}, {media.PLAIN_JSON};q=0.5"}
        with self._ask("GET", path, headers=accept, query=query, good=(200, 204, 206)) as answer:
            body = self._read_all(answer, _LARGEST_JSON_BYTES)
        if not body.strip():
            return []
        try:
            found = json.loads(body)
        except ValueError as error:
            raise ProtocolError(f"{self._url}: its answer is no JSON") from error
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise ProtocolError(f"{self._url}: its answer is no list of data sets in JSON")
        return found

    @contextmanager
    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        query: Sequence[tuple[str, str]] = (),
        content: Iterable[bytes] | None = None,
        good: tuple[int, ...] = (200,),
    ) -> Iterator["httpx.Response"]:
        """Send a request, and give the answer whose body is still to be read."""
        import httpx

        if self._is_cut:
            raise PeerGoneError(f"{self._url}: the connection was cut by this node")
        sent = dict(headers)
        if self._service.authorization is not None:
            sent["Authorization"] = self._service.authorization()
        request = self._client.build_request(
            method,
            self._url + path,
            params=httpx.QueryParams([(str(k), str(v)) for k, v in query]) if query else None,
            headers=sent,
            content=content,
            extensions={"trace": self._note_socket}
            | ({"sni_hostname": self._service.tls_name} if self._service.tls_name else {}),
        )
        try:
            answer = self._client.send(request, stream=True)
            try:
                if answer.status_code not in good:
                    raise self._refused(answer)
                yield answer
            finally:
                answer.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise PeerError(f"{self._url}: {_words(error)}") from error
        except httpx.TimeoutException as error:
            raise PeerGoneError(
                f"{self._url}: {_PHASES.get(type(error).__name__, 'it was silent for too long')}"
            ) from error
        except httpx.TransportError as error:
            raise PeerGoneError(f"{self._url}: {_words(error)}") from error

    def _refused(self, answer: "httpx.Response") -> WebStatusError:
        status = answer.status_code
        if answer.has_redirect_location:
            words = "it redirects; set the url to where it is now"
        else:
            words = _WORDS.get(status, "")
        words = f": {words}" if words else ""
        return WebStatusError(
            f"{self._url}: answered with HTTP status {status}{words}",
            status=status,
            retry_after_s=_retry_after_s(answer.headers.get("Retry-After", "")),
        )

    def _read_all(self, answer: "httpx.Response", limit: int) -> bytes:
        read, whole_s = bytearray(), self._service.timeouts.whole_s
        ends_by = time.monotonic() + whole_s
        for chunk in answer.iter_bytes():  # as they come: pieces of one size would be waited for
            read += chunk
            if time.monotonic() > ends_by:
                raise PeerGoneError(f"{self._url}: its answer was not whole within {whole_s:g} s")
            if len(read) > limit:
                raise ProtocolError(f"{self._url}: its answer is larger than {limit} bytes; ask for less")
        return bytes(read)

    def _parts(self, answer: "httpx.Response") -> Iterator[ReceivedPart]:
        chunks = answer.iter_bytes(_PIECE_BYTES)
        with self._in_words():
            content_type = media.parse(answer.headers.get("Content-Type", ""))
            if content_type.name == media.DICOM:
                yield ReceivedPart(dict(answer.headers), chunks)
                return
            for part in multipart.parts_of(chunks, multipart.boundary_of(content_type)):
                yield ReceivedPart(part.headers, self._chunks(part))

    def _chunks(self, part: ReceivedPart) -> Iterator[bytes]:
        with self._in_words():
            yield from part.chunks

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except RequestError as error:
            raise ProtocolError(f"{self._url}: {error}") from error


_PHASES: Final[Mapping[str, str]] = {
    "WriteTimeout": "it stopped taking data",
    "ReadTimeout": "it did not answer within the time for it",
}
_WORDS: Final[Mapping[int, str]] = {
    400: "it finds the request broken",
    401: "it wants a user name and password, or a token, that it knows",
    403: "it does not allow this to our account",
    404: "there is no such thing, or no DICOMweb service, at this address",
    406: "it has no form of this that we take",
    413: "too large for it",
    415: "it does not take this kind of object",
    429: "it asks for fewer requests",
    503: "it has no resources for now",
}


def _path(study: str = "", series: str = "", instance: str = "") -> str:
    steps = zip(("studies", "series", "instances"), (study, series, instance), strict=True)
    return "".join(f"/{level}/{quote(uid, safe='')}" for level, uid in steps if uid)


def _words(error: "httpx.TransportError") -> str:
    """Say how a connection failed."""
    import httpx

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"no TLS with it: its certificate is not believed ({cause.verify_message})"
        if isinstance(cause, ssl.SSLError):
            return f"no TLS with it: {cause.reason or cause}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectTimeout):
        return "can't be reached: no connection within the time for it"
    if isinstance(error, httpx.ConnectError):
        return f"can't be reached: {error}"
    if isinstance(error, httpx.UnsupportedProtocol):
        return "its url does not begin with http:// or https://"
    return "the connection broke off" + (f" ({error})" if str(error) else "")


def _retry_after_s(value: str) -> float | None:
    """Read Retry-After where it is in seconds (RFC 9110 10.2.3); a date, which is rare, says nothing."""
    try:
        return min(_LONGEST_RETRY_AFTER_S, max(0.0, float(value)))
    except ValueError:
        return None
