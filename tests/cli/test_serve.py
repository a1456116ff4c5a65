"""What `dae-pacs serve` asks of the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from dae_pacs.cli.serve import allow_open_files
allow_open_files()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "after"), [(256, 5000, "4096 5000"), (256, 1000, "1000 1000"), (4500, 5000, "4500 5000")]
)
def test_the_limit_on_open_files_rises_to_what_the_system_allows(soft: int, hard: int, after: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(soft=soft, hard=hard)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == after
