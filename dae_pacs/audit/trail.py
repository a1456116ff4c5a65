"""The audit trail of one process: messages in, to a file, to a syslog receiver, or to both."""

import time
from pathlib import Path
from typing import Final

from dae_pacs.audit import events
from dae_pacs.audit.backlog import Backlog
from dae_pacs.audit.entry import Entry
from dae_pacs.audit.events import Us
from dae_pacs.audit.file import AuditFile
from dae_pacs.audit.messages import Message, Source, encode
from dae_pacs.audit.outlet import Outlet, Target
from dae_pacs.audit.syslog import Syslog, TlsFiles
from dae_pacs.config.audit import AuditSettings, host_and_port
from dae_pacs.errors import ConfigError

FOLDER: Final = "audit"
"""Below the spool: what could not be delivered yet."""
_CLOSE_S: Final = 8.0
"""Longer than a connection may take, so that messages are delivered or set aside, not forgotten."""


class Trail:
    """Takes messages from any thread, and waits for nothing."""

    def __init__(self, settings: AuditSettings, us: Us, *, spool: Path) -> None:
        self._source = Source(settings.source or us.ae_title, settings.site)
        self._us = us
        self._outlets = [
            Outlet(
                name,
                target,
                Backlog(spool / FOLDER / name, most=settings.queue_messages),
                words_for_lost=self._words_for_lost,
            )
            for name, target in _targets(settings)
        ]

    def record(self, message: Message) -> None:
        """Send a message on its way."""
        entry = self._entry(message)
        for outlet in self._outlets:
            outlet.put(entry)

    def close(self) -> None:
        """Deliver what is at hand; what can't be delivered stays on the disk for the next time."""
        ends_by = time.monotonic() + _CLOSE_S
        for outlet in self._outlets:
            outlet.close(timeout_s=max(0.1, ends_by - time.monotonic()))

    def _entry(self, message: Message) -> Entry:
        return Entry(int(message.at.timestamp() * 1e9), encode(message, self._source))

    def _words_for_lost(self, count: int) -> Entry:
        return self._entry(events.lost(self._us, count))


def open_trail(settings: AuditSettings, us: Us, *, spool: Path) -> Trail | None:
    """Open the trail that the settings ask for; None where they ask for none.

    Raises:
        ConfigError: a certificate or key can't be used.
    """
    if not settings.is_on:
        return None
    if settings.syslog is not None and settings.syslog_transport == "tls":
        try:
            _tls_files(settings).context()
        except OSError as error:
            named = ", ".join(map(str, settings.tls_files)) or "the system's own"
            raise ConfigError(
                f"audit.syslog: its certificates ({named}) can't be used "
                f"({error.strerror or type(error).__name__}). Name PEM files that this user may read: "
                "audit.syslog_authorities, audit.syslog_certificate, audit.syslog_key."
            ) from error
    return Trail(settings, us, spool=spool)


def waiting(spool: Path) -> dict[str, int]:
    """Count the messages that wait for each target."""
    try:
        folders = sorted(path for path in (spool / FOLDER).iterdir() if path.is_dir())
    except OSError:
        return {}
    return {folder.name: count for folder in folders if (count := len(Backlog(folder, most=0)))}


def _targets(settings: AuditSettings) -> list[tuple[str, Target]]:
    targets: list[tuple[str, Target]] = []
    if settings.file is not None:
        most_bytes = settings.file_mb * 1_000_000
        targets.append(("file", AuditFile(settings.file, most_bytes=most_bytes, kept=settings.files_kept)))
    if settings.syslog is not None:
        host, port = host_and_port(settings.syslog)
        syslog = Syslog(host, port, transport=settings.syslog_transport, tls=_tls_files(settings))
        targets.append(("syslog", syslog))
    return targets


def _tls_files(settings: AuditSettings) -> TlsFiles:
    return TlsFiles(settings.syslog_authorities, settings.syslog_certificate, settings.syslog_key)
