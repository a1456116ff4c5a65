"""The unit of systemd: what can be held against it without installing it."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parents[2] / "docker" / "systemd" / "dae-pacs.service"
MOST_EXPOSED = 20
"""Of 100, in systemd's own measure, where most services of a distribution have 95."""


def _analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/dae-pacs/bin/dae-pacs", "/bin/true"))
    ran = _analyze("verify", "--man=no", str(unit))
    assert ran.returncode == 0, ran.stderr
    complaints = [line for line in ran.stderr.splitlines() if UNIT.name in line]
    assert not complaints


def test_the_node_is_let_do_little() -> None:
    ran = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(UNIT))
    assert ran.returncode == 0, ran.stdout


def test_the_node_has_longer_to_stop_than_it_takes() -> None:
    assert "TimeoutStopSec=60" in UNIT.read_text()  # node.lifecycle gives the series in work 20 s
    assert "KillMode=mixed" in UNIT.read_text()
