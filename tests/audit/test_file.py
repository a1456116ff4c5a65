import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from dae_pacs.audit.entry import Entry
from dae_pacs.audit.file import AuditFile


def trail(tmp_path: Path, *, most_bytes: int = 10**6, kept: int = 3) -> AuditFile:
    return AuditFile(tmp_path / "audit" / "audit.xml", most_bytes=most_bytes, kept=kept)


def test_one_message_a_line_for_the_owner_alone(tmp_path: Path, entry) -> None:
    old = os.umask(0)
    try:
        trail(tmp_path).deliver([entry(1), entry(2)])
    finally:
        os.umask(old)
    path = tmp_path / "audit" / "audit.xml"
    assert path.read_bytes() == entry(1).xml + b"\n" + entry(2).xml + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path, entry) -> None:
    path = tmp_path / "audit.xml"
    path.touch(mode=0o644)
    AuditFile(path, most_bytes=10**6, kept=3).deliver([entry(1)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_rotation_keeps_so_many_files_and_loses_nothing_of_them(tmp_path: Path, entry) -> None:
    audit = trail(tmp_path, most_bytes=100, kept=3)
    for number in range(20):
        audit.deliver([entry(number)])
    files = sorted((tmp_path / "audit").iterdir())
    assert [path.name for path in files] == ["audit.xml", "audit.xml.1", "audit.xml.2", "audit.xml.3"]
    assert all(path.stat().st_size <= 100 for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    lines = [line for path in [*reversed(files[1:]), files[0]] for line in path.read_bytes().splitlines()]
    assert lines == [entry(number).xml for number in range(20 - len(lines), 20)]


def test_two_writers_rotate_without_losing_a_line(tmp_path: Path, entry) -> None:
    def write(first: int) -> None:
        audit = trail(tmp_path, most_bytes=2000, kept=100)
        for number in range(first, first + 200):
            audit.deliver([entry(number)])

    writers = [threading.Thread(target=write, args=(first,)) for first in (1000, 2000, 3000)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [line for path in (tmp_path / "audit").iterdir() for line in path.read_bytes().splitlines()]
    assert sorted(lines) == [
        entry(number).xml for first in (1000, 2000, 3000) for number in range(first, first + 200)
    ]


def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path: Path) -> None:
    program = (
        "import resource, sys; from pathlib import Path;"
        "from dae_pacs.audit.entry import Entry; from dae_pacs.audit.file import AuditFile;"
        f"audit = AuditFile(Path({str(tmp_path / 'audit.xml')!r}), most_bytes=10**6, kept=3);"
        "audit.deliver([Entry(1, b'first')]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20));"
        "audit.deliver([Entry(2, b'x' * 100)])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "OSError: [Errno 27]" in ran.stderr
    assert (tmp_path / "audit.xml").read_bytes() == b"first\n"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_is_no_regular_file_is_not_written_to(tmp_path: Path, kind: str, entry) -> None:
    path, elsewhere = tmp_path / "audit.xml", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    match kind:
        case "link":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
    with pytest.raises(OSError, match=r"."):
        AuditFile(path, most_bytes=10**6, kept=3).deliver([entry(1)])
    assert elsewhere.read_bytes() == b"precious"


def test_entries_are_bytes_as_they_are(tmp_path: Path) -> None:
    trail(tmp_path).deliver([Entry(1, "Müller 山".encode())])
    assert (tmp_path / "audit" / "audit.xml").read_text(encoding="utf-8") == "Müller 山\n"


def test_half_a_line_that_a_power_cut_left_spoils_no_other(tmp_path: Path, entry) -> None:
    path = tmp_path / "audit.xml"
    path.write_bytes(entry(1).xml + b"\n<AuditMess")
    AuditFile(path, most_bytes=10**6, kept=3).deliver([entry(2)])
    assert path.read_bytes().splitlines() == [entry(1).xml, b"<AuditMess", entry(2).xml]
