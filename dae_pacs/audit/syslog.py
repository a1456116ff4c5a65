"""The audit trail by syslog: RFC 5424 messages over TLS (RFC 5425), plain TCP (RFC 6587) or UDP (RFC 5426).

PS3.15 A.6 and A.7. Over TLS the receiver's certificate is always verified, and its name with it.
"""

import os
import re
import socket
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from dae_pacs.audit.entry import Entry

Transport = Literal["tls", "tcp", "udp"]

_PRIORITY: Final = 85
"""Facility 10 (security), severity 5 (normal but significant), as A.6 says."""
_APP_NAME: Final = "dae-pacs"
_MESSAGE_ID: Final = "DICOM+RFC3881"
_BOM: Final = b"\xef\xbb\xbf"  # RFC 5424 6.4: what follows is UTF-8
_DECLARATION: Final = b'<?xml version="1.0" encoding="UTF-8"?>'
_TIMEOUT_S: Final = 5.0
_PARTING_S: Final = 2.0
_LONGEST_HOST: Final = 255  # RFC 5424 6
_NOT_PRINTABLE = re.compile(r"[^!-~]")


@dataclass(frozen=True)
class TlsFiles:
    """What we trust, and who we say that we are."""

    authorities: Path | None = None
    """Certificates of authorities in PEM; None trusts those of the system."""
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Make the context of a client that verifies.

        Raises:
            OSError: a file can't be read, or is no certificate or key.
        """
        context = ssl.create_default_context(cafile=self.authorities)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(self.certificate, self.key)
        return context


class Syslog:
    """A connection to a syslog receiver, made when there is something to send and again when it broke."""

    def __init__(self, host: str, port: int, *, transport: Transport, tls: TlsFiles) -> None:
        self._host, self._port = host, port
        self._transport = transport
        self._tls = tls
        self._socket: socket.socket | None = None
        self._hostname = _NOT_PRINTABLE.sub("", socket.gethostname())[:_LONGEST_HOST] or "-"

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Send messages.

        Raises:
            OSError: they may not have arrived; send them again.
        """
        try:
            try:
                connection = self._connected()
            except UnicodeError as error:
                raise OSError(0, "its name is none that a host can have", self._host) from error
            for entry in entries:
                message = frame(entry, hostname=self._hostname)
                is_stream = self._transport != "udp"
                connection.sendall(b"%d %b" % (len(message), message) if is_stream else message)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection; the next delivery opens another."""
        connection, self._socket = self._socket, None
        if connection is not None:
            _part_from(connection)

    def _connected(self) -> socket.socket:
        if self._socket is not None and _is_gone(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connect()
        return self._socket

    def _connect(self) -> socket.socket:
        if self._transport == "udp":
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            family, kind, protocol, _, address = found[0]
            datagrams = socket.socket(family, kind, protocol)
            datagrams.connect(address)
            return datagrams
        context = self._tls.context() if self._transport == "tls" else None
        plain = socket.create_connection((self._host, self._port), timeout=_TIMEOUT_S)
        if context is None:
            return plain
        try:
            return context.wrap_socket(plain, server_hostname=self._host)
        except BaseException:
            plain.close()
            raise


def frame(entry: Entry, *, hostname: str) -> bytes:
    """Put a message into the form of RFC 5424, without structured data."""
    moment = datetime.fromtimestamp(entry.time_ns / 1e9, UTC).isoformat(timespec="milliseconds")
    head = f"<{_PRIORITY}>1 {moment} {hostname} {_APP_NAME} {os.getpid()} {_MESSAGE_ID} - "
    return head.encode("ascii") + _BOM + _DECLARATION + entry.xml


def _part_from(connection: socket.socket) -> None:
    """Say that nothing more comes, and wait until the receiver has taken what came.

    A socket that is closed with bytes unread, such as the session tickets of TLS 1.3, is reset, and the
    receiver may lose what it had not read yet.
    """
    with connection, suppress(OSError, ValueError):
        if connection.type == socket.SOCK_DGRAM:
            return
        connection.settimeout(_PARTING_S)
        if isinstance(connection, ssl.SSLSocket):
            connection = connection.unwrap()  # close_notify, as RFC 5425 4.4 asks
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def _is_gone(connection: socket.socket) -> bool:
    """Tell whether the receiver has closed: it has nothing to say, so a read finds an end or nothing."""
    if connection.type == socket.SOCK_DGRAM:
        return False
    connection.settimeout(0)
    try:
        return not connection.recv(4096)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(_TIMEOUT_S)
