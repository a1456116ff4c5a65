import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dae_pacs import privacy


def run(program: str, folder: Path) -> str:
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


def test_a_sealed_process_dumps_no_memory_and_makes_files_for_its_owner(tmp_path: Path) -> None:
    program = (
        "import resource; from dae_pacs.privacy import seal_process; seal_process();"
        "print(open('/proc/self/coredump_filter').read(), resource.getrlimit(resource.RLIMIT_CORE));"
        "open('file', 'w').close()"
    )
    assert run(program, tmp_path).split() == ["00000000", "(0,", "0)"]
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("place", ["raise_()", "t = threading.Thread(target=raise_); t.start(); t.join()"])
def test_a_crash_is_told_by_its_place_and_not_by_its_words(tmp_path: Path, place: str) -> None:
    program = f"""
import threading
from dae_pacs import log, privacy
log.configure()
privacy.log_crashes()
def raise_():
    name = "Doe^" + "Jane"
    raise ValueError("no number: " + name)
{place}
"""
    said = run(program, tmp_path)
    assert "error=ValueError" in said
    assert "raise_" in said
    assert "Doe^Jane" not in said
    assert "Traceback" not in said


def test_the_way_to_an_error_is_bounded() -> None:
    def deeper(depth: int) -> None:
        if not depth:
            raise ValueError("Doe^Jane")
        deeper(depth - 1)

    with pytest.raises(ValueError, match="Doe") as caught:
        deeper(100)
    told = privacy.where(caught.value.__traceback__)
    assert told.count(" > ") == 11
    assert "Doe" not in told
