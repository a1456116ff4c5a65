"""Logging: constant messages with fields, as lines for people or as JSON for a collector."""

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType
from typing import Protocol

from dae_pacs.errors import ConfigError

FILE_BYTES = 10_000_000
FILES_KEPT = 5
_HANDLER_NAME = "dae-pacs"
_CHATTY = ("monai", "PIL", "matplotlib")
"""Libraries that log, at INFO, what helps nobody."""
_INDISCREET = ("pydicom", "pynetdicom", "py.warnings")
"""Whose warnings quote the values that they complain of: a patient's name, a stranger's bytes."""

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
"""What `sys.exc_info` gives."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record carries; anything else on it came in through `extra`."""


class LogSettings(Protocol):
    """What this module needs to know; `dae_pacs.config.model.LogSettings` says it."""

    @property
    def level(self) -> str:
        """The least level that is logged."""
        ...

    @property
    def format(self) -> str:
        """Either text or json."""
        ...

    @property
    def file(self) -> Path | None:
        """A rotating file; None for standard error."""
        ...


def configure(settings: LogSettings | None = None, *, verbose: bool = False) -> None:
    """Send the process's log records where the settings say; a repeat replaces what was set before.

    Args:
        settings: None logs warnings and worse, as text, to standard error.
        verbose: log everything of ours, whatever level the settings name.

    Raises:
        ConfigError: the log file can't be opened.
    """
    handler = _handler(settings.file if settings else None)
    handler.set_name(_HANDLER_NAME)
    handler.setFormatter(JsonLines() if settings and settings.format == "json" else TextLines())
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.get_name() == _HANDLER_NAME]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    level = settings.level if settings else "WARNING"
    logging.getLogger("dae_pacs").setLevel("DEBUG" if verbose else level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _INDISCREET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


class _PrivateFile(RotatingFileHandler):
    """A rotating file for its owner alone: it names peers and what goes wrong, if no patient."""

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.fchmod(stream.fileno(), 0o600)
        return stream


class _Discreet(logging.Formatter):
    """Tells where an error happened, and of which kind it is: its words may quote a patient's name."""

    def formatException(self, ei: ExcInfo) -> str:
        kind, _, trace = ei
        frames = "".join(traceback.format_tb(trace)).rstrip("\n")
        name = kind.__name__ if kind is not None else "None"
        return f"{frames}\n{name} (its words are left out)"


class TextLines(_Discreet):
    """One line a record: time, level, logger, message, then key=value for each field."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line, and the traceback below it when there is one."""
        fields = "".join(f" {key}={_plain(value)}" for key, value in _fields(record).items())
        message = _one_line(record.getMessage())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {message}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(_Discreet):
    """One JSON object a record: time, level, logger, message, and each field under its own key."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a JSON object on one line."""
        entry: dict[str, object] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return logging.StreamHandler(sys.stderr)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return _PrivateFile(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"Log file {file}: can't be opened ({error.strerror}). Set log.file to a file that may be "
            "written, or leave it out to log to standard error."
        ) from error


def _fields(record: logging.LogRecord) -> dict[str, object]:
    found = vars(record).items()  # what begins with _ is a library's own: Ray puts its time on every record
    return {key: value for key, value in found if key not in _STANDARD and not key.startswith("_")}


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).astimezone().isoformat(timespec="milliseconds")


def _plain(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    # Values off the wire must not be able to forge fields or lines.
    needs_quotes = not text or not text.isprintable() or any(mark in text for mark in ' "=')
    return json.dumps(text, ensure_ascii=False) if needs_quotes else text


def _one_line(text: str) -> str:
    return "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in text)
