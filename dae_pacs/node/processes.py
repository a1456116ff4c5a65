"""What a process takes of the machine, from /proc (proc(5))."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """One process."""

    resident_bytes: int
    cpu_s: float
    threads: int
    open_files: int | None
    """None where the system does not tell, as of another user's process."""


def process(pid: int) -> Process | None:
    """Look at a process; None where there is none, or it is not ours to look at."""
    folder = Path("/proc") / str(pid)
    try:
        # The name, in brackets, may hold anything; what follows it are numbers.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        resident = int((folder / "statm").read_text().split()[1]) * _PAGE_BYTES
        return Process(
            resident_bytes=resident,
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
            threads=int(fields[17]),
            open_files=_open_files(folder),
        )
    except (OSError, ValueError, IndexError):
        return None


def together(processes: Iterable[Process | None]) -> Process | None:
    """Add up what processes take; None where none of them can be seen."""
    seen = [one for one in processes if one is not None]
    files = [one.open_files for one in seen if one.open_files is not None]
    if not seen:
        return None
    return Process(
        resident_bytes=sum(one.resident_bytes for one in seen),
        cpu_s=sum(one.cpu_s for one in seen),
        threads=sum(one.threads for one in seen),
        open_files=sum(files) if files else None,
    )


def _open_files(folder: Path) -> int | None:
    try:
        return len(os.listdir(folder / "fd"))  # noqa: PTH208  names alone are counted
    except OSError:
        return None
