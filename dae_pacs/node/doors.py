"""The node's doors: who may call, over TLS or not, and what a person should know of certificates.

Certificates are looked at when the node starts and once a day: one that expires within `tls.warn_days`,
ours or one that was shown to us, is warned of in the log and by `dae-pacs status`.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from dae_pacs.config.model import Settings
from dae_pacs.dimse import certificates
from dae_pacs.dimse.access import Guest, GuestList, anyone
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.entrance import Entrance, TlsDoor, TurnedAway
from dae_pacs.dimse.tls import Reloading, server_context, stamp
from dae_pacs.errors import ConfigError
from dae_pacs.node import visitors
from dae_pacs.node.peers import identity_of
from dae_pacs.node.visitors import Report, Shown, Visitors

logger = logging.getLogger(__name__)

_DAY_S: Final = 86400.0
_WRITE_S: Final = 2.0
"""How often the report is written, at most."""
_BUNDLE: Final = 8
"""A file of more certificates is a collection of public authorities, some of which have always expired."""
_CALLER: Final = "caller "
"""Before the address of one who called: there may be many of those."""
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - what it is compared with


class Doors:
    """Who may come in, and what is told about it."""

    def __init__(self, settings: Settings, *, report_path: Path, peers: Mapping[str, PeerAddress]) -> None:
        """Read the certificates and the list of guests.

        Args:
            settings: all of them.
            report_path: where `dae-pacs status` looks.
            peers: where the configured peers are, and how they are called.

        Raises:
            ConfigError: a file of TLS can't be used.
        """
        self._settings = settings
        self._report_path = report_path
        self._visitors = Visitors()
        self._started_at = time.time()
        self._context = _listening_context(settings)
        self._peers = peers
        self._own = _OnDisk(settings)
        self._written = ""
        self._warned_of: set[str] = set()
        self._next_write = self._next_warning = 0.0

    def entrance(self, refused: Callable[[str, str, str], None]) -> Entrance:
        """Say how callers come in.

        Args:
            refused: told of each that may not: its title, its address, and why.
        """

        def turned_away(who: TurnedAway) -> None:
            self._visitors.turned_away(who)
            if not who.is_for_now:
                refused(who.calling_ae, who.address, who.words)

        node, tls = self._settings.node, self._settings.tls
        guests = GuestList(list(_guests(self._settings)), called=(node.ae_title, *node.also_called))
        return Entrance(
            admit=guests.refusal if node.accept == "peers" else anyone,
            tls=TlsDoor(tls.port, self._context.get) if self._context and tls.port is not None else None,
            is_plain=tls.port is None or tls.also_plain,
            turned_away=turned_away,
            certificate_seen=lambda address, seen: self._visitors.certificate_seen(
                f"{_CALLER}{address}", seen
            ),
        )

    def open(self) -> None:
        """Say in the log what stands open."""
        settings = self._settings
        if settings.node.accept == "anyone" and not is_loopback(settings.node.bind):
            logger.warning(
                "the node takes associations from anyone who reaches its port (node.accept)",
                extra={"bind": settings.node.bind},
            )
        if settings.node.accept == "peers" and not (settings.peers or settings.senders):
            logger.warning("nobody may send to this node: name them under senders or peers (node.accept)")
        self.look()

    def look(self) -> None:
        """Follow the files, warn of what expires, and write the report; cheap, and due at every tick."""
        now = time.monotonic()
        if now < self._next_write:
            return
        self._next_write = now + _WRITE_S
        if self._context is not None:
            self._context.get()
        report = self._report()
        if now >= self._next_warning:
            self._next_warning = now + _DAY_S
            self._warned_of.clear()
        for words in report.problems:
            if words not in self._warned_of:
                self._warned_of.add(words)
                logger.warning("TLS needs attention", extra={"what": words})
        self._write(report)

    def expiries(self) -> dict[str, float]:
        """Say when the certificates that we show, trust, or see of peers expire, in seconds since 1970."""
        found: dict[str, float] = {}
        for one in (*self._own.shown(), *self._visitors.certificates()):
            if not one.whose.startswith(_CALLER):
                found[one.whose] = min(found.get(one.whose, math.inf), one.not_after.timestamp())
        return found

    def close(self) -> None:
        """Write the report a last time."""
        self._write(self._report())

    def _write(self, report: Report) -> None:
        described = repr(report)
        if described != self._written:
            visitors.write(self._report_path, report)
            self._written = described

    def _report(self) -> Report:
        for name, address in self._peers.items():
            if address.tls is not None and address.tls.seen is not None:
                self._visitors.certificate_seen(f"peer {name}", address.tls.seen)
        known = (*self._own.shown(), *self._visitors.certificates())
        return Report(
            accept=self._settings.node.accept,
            started_at=self._started_at,
            turned_away=self._visitors.turned_away_count,
            refused=self._visitors.refused(),
            certificates=known,
            problems=tuple(self._problems(known)),
        )

    def _problems(self, known: tuple[Shown, ...]) -> Iterator[str]:
        contexts = {"the listener": self._context} | {
            f"peer {name}": address.tls for name, address in self._peers.items()
        }
        for where, context in contexts.items():
            if context is not None and context.problem:
                yield f"{where} goes on with the TLS files of before: {context.problem}"
        for shown in known:
            days, day = shown.days_left, f"{shown.not_after:%Y-%m-%d}"
            which = f"the certificate of {shown.whose} ({shown.subject})"
            if days < 0:
                yield f"{which} has expired on {day}"
            elif days < self._settings.tls.warn_days:
                yield f"{which} expires on {day}, in {days:.0f} days"


def is_loopback(bind: str) -> bool:
    """Tell whether an address to listen on is reached from this machine alone."""
    if bind == "localhost":
        return True
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return False


def _guests(settings: Settings) -> Iterator[Guest]:
    """List who may call: peers, senders, and this node itself on this machine, for its own commands."""
    node = settings.node
    bound = () if node.bind in _EVERYWHERE else (node.bind,)
    yield Guest("this node", (node.ae_title,), (*_LOOPBACK, *bound))
    for name, peer in settings.peers.items():
        addresses = (peer.host,) if peer.addresses is None else peer.addresses
        yield Guest(f"peers.{name}", (peer.ae_title,), addresses)
    for name, sender in settings.senders.items():
        yield Guest(f"senders.{name}", sender.ae_title, sender.addresses)


def _listening_context(settings: Settings) -> Reloading | None:
    tls = settings.tls
    identity = identity_of(tls)
    if tls.port is None:
        return None
    if identity is None:
        raise ConfigError("tls.port: a listener with TLS needs tls.certificate and tls.key")
    trust = tls.trust if tls.clients == "certificate" else None
    files = (*identity.files, *((trust,) if trust else ()))
    return Reloading(files, lambda: server_context(identity, trust=trust, minimum=tls.minimum))


class _OnDisk:
    """Our own certificate, and those that we trust, as they are on the disk now."""

    def __init__(self, settings: Settings) -> None:
        named = {"this node": settings.tls.certificate, "a trusted authority": settings.tls.trust} | {
            f"peers.{name}.tls_trust": peer.tls_trust for name, peer in settings.peers.items()
        }
        self._files = {whose: path for whose, path in named.items() if path is not None}
        self._stamp: object = None
        self._shown: tuple[Shown, ...] = ()

    def shown(self) -> tuple[Shown, ...]:
        """Give the certificates; the files are read again when they are replaced."""
        now = stamp(tuple(self._files.values()))
        if now != self._stamp:
            self._stamp = now
            self._shown = tuple(self._read())
        return self._shown

    def _read(self) -> Iterator[Shown]:
        for whose, path in self._files.items():
            try:
                found = certificates.read(path)
            except ConfigError:
                continue  # told as the problem of the listener, or of the peer, that uses it
            for certificate in found if len(found) <= _BUNDLE else ():
                yield visitors.shown(whose, certificate)
