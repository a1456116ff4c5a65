"""Read from a trace of system calls whether every success went to its socket behind the flushes it needs.

What a power cut leaves is what was flushed before. So at the moment when a C-STORE response with status 0000
goes to a socket, of the file that holds its object:

- every write must have ended before a fsync or fdatasync of it began, which ended before the response began;
- some name of it must be durable: made before the trace, or made (or given by a rename) before a fsync of the
  folder that holds it, which ended before the response began, and before another rename took the name away.
"""

import codecs
import math
import re
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,open,creat,write,pwrite64,writev,pwritev,sendto,sendmsg,fsync,fdatasync,ftruncate"
CALLS += ",rename,renameat,renameat2,link,linkat,unlink,unlinkat"
OPTIONS = ("-f", "-x", "-y", "-s", "1024", "-e", f"trace={CALLS}", "-e", "signal=none")
"""Of strace: every thread and process, paths of files, enough of what is written to see the UIDs."""

_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
_CALL = re.compile(
    r"(?P<name>\w+)\((?P<arguments>.*?)(?:\)\s+= (?P<result>-?\d+)(?P<more>.*)| <unfinished \.\.\.>)$"
)
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\)\s+= (?P<result>-?\d+)(?P<more>.*)$")
_ON_FILE = re.compile(r"\d+<(?P<path>/[^>]*)>")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_WRITES = frozenset(("write", "pwrite64", "writev", "pwritev", "ftruncate"))
_FLUSHES = frozenset(("fsync", "fdatasync"))
_SUCCESS = struct.pack("<HHIH", 0, 0x0900, 2, 0)
_STORE_RESPONSE = struct.pack("<HHIH", 0, 0x0100, 2, 0x8001)
_INSTANCE = struct.pack("<HH", 0, 0x1000)
_MEDIA_INSTANCE = struct.pack("<HH2s", 0x0002, 0x0003, b"UI")


@dataclass(frozen=True)
class Call:
    """One system call that succeeded, and between which lines of the trace it ran."""

    name: str
    arguments: str
    began: int
    ended: int
    opened: str = ""
    """The path of what an open gave back."""


@dataclass
class File:
    """What happened to one file."""

    written: list[int] = field(default_factory=list)
    """When its writes ended."""
    flushed: list[tuple[int, int]] = field(default_factory=list)
    names: list["Name"] = field(default_factory=list)
    """Those that it had; none for a file that was there before, and was not renamed."""


@dataclass
class Name:
    """One name of a file."""

    folder: str
    since: int
    until: float = math.inf
    """When a rename took it away: a flush of the folder behind that makes its end durable, not itself."""


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """Read a trace, in the order in which the calls ended."""
    begun: dict[str, tuple[str, str, int]] = {}
    for number, line in enumerate(lines):
        match = _LINE.match(line)
        if match is None:
            continue
        pid, rest = match["pid"], match["rest"]
        resumed = _RESUMED.search(rest)
        if resumed is not None and pid in begun:
            name, arguments, began = begun.pop(pid)
            arguments += resumed["arguments"]
            result, more = resumed["result"], resumed["more"]
        elif (whole := _CALL.match(rest)) is not None:
            if whole["result"] is None:
                begun[pid] = whole["name"], whole["arguments"], number
                continue
            name, arguments, began = whole["name"], whole["arguments"], number
            result, more = whole["result"], whole["more"]
        else:
            continue
        if int(result) >= 0:
            opened = re.match(r"<(/[^>]*)>", more)
            yield Call(name, arguments, began, number, opened[1] if opened else "")


def violations(lines: Iterable[str]) -> tuple[int, list[str]]:
    """Count the success answers of a trace, and say of each that came too early why."""
    files: dict[str, File] = defaultdict(File)
    of_uid: dict[str, str] = {}
    folders: dict[str, list[tuple[int, int]]] = defaultdict(list)
    answers = 0
    found = []
    for call in calls(lines):
        if call.name in {"openat", "open", "creat"}:
            if call.opened and ("O_CREAT" in call.arguments or call.name == "creat"):
                files[call.opened] = File(names=[Name(str(Path(call.opened).parent), call.ended)])
        elif call.name.startswith(("rename", "link")):
            _rename(call, files, of_uid)
        elif call.name in _FLUSHES and (match := _ON_FILE.match(call.arguments)):
            files[match["path"]].flushed.append((call.began, call.ended))
            folders[match["path"]].append((call.began, call.ended))
        elif call.name in _WRITES and (match := _ON_FILE.match(call.arguments)):
            files[match["path"]].written.append(call.ended)
            uid = _uid_behind(_data(call), _MEDIA_INSTANCE, "<H")
            if uid:
                of_uid[uid] = match["path"]
        else:
            uid = _answered(_data(call))
            if uid:
                answers += 1
                why = _why_not(uid, call.began, of_uid, files=files, folders=folders)
                if why:
                    found.append(f"{uid}: {why}")
    return answers, found


def _rename(call: Call, files: dict[str, File], of_uid: dict[str, str]) -> None:
    source, target = (_unescaped(text).decode() for text in _QUOTED.findall(call.arguments)[:2])
    file = files[target] = files.pop(source, File())
    for name in file.names:
        name.until = min(name.until, call.began)
    file.names.append(Name(str(Path(target).parent), call.ended))
    for uid, path in of_uid.items():
        if path == source:
            of_uid[uid] = target


def _why_not(
    uid: str,
    now: int,
    of_uid: dict[str, str],
    *,
    files: dict[str, File],
    folders: dict[str, list[tuple[int, int]]],
) -> str:
    path = of_uid.get(uid)
    if path is None:
        return "no file was written with this UID"
    file = files[path]
    last_write = max(file.written, default=0)
    if not any(last_write < began and ended < now for began, ended in file.flushed):
        return "its file was not flushed behind its last write"
    is_named = not file.names or any(
        name.since < began and ended < min(now, name.until)
        for name in file.names
        for began, ended in folders[name.folder]
    )
    return "" if is_named else "the folder that holds its file's name was not flushed"


def _data(call: Call) -> bytes:
    return b"".join(_unescaped(text) for text in _QUOTED.findall(call.arguments))


def _unescaped(text: str) -> bytes:
    return codecs.decode(text, "unicode_escape").encode("latin-1")


def _answered(data: bytes) -> str:
    if _STORE_RESPONSE not in data or _SUCCESS not in data:
        return ""
    return _uid_behind(data, _INSTANCE, "<I")


def _uid_behind(data: bytes, mark: bytes, length_layout: str) -> str:
    at = data.find(mark)
    start = at + len(mark) + struct.calcsize(length_layout)
    if at < 0 or start > len(data):
        return ""
    (length,) = struct.unpack_from(length_layout, data, at + len(mark))
    return data[start : start + length].rstrip(b"\0 ").decode("latin-1")
