import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dae_pacs import __version__
from dae_pacs.cli.reference import reference

Run = Callable[..., Any]
DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = ("torch", "monai", "numpy", "pydicom", "pynetdicom", "pydantic", "sqlite3", "SimpleITK", "PIL")


def test_help_names_every_command(run: Run) -> None:
    ran = run("--help")

    assert ran.code == 0
    for command in ("serve", "denoise", "demo", "send", "echo", "status", "retry", "config", "rules"):
        assert command in ran.out


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom dae_pacs.cli.app import main\nsys.argv = ['dae-pacs', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('heavy:', [n for n in sys.modules if n in "
        + repr(HEAVY)
        + "])"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stdout.splitlines()[-1] == "heavy: []"


def test_the_package_is_a_program_too() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dae_pacs", "--version"], capture_output=True, text=True, check=True
    )

    assert ended.stdout == f"dae-pacs {__version__}\n"


def test_the_document_is_what_the_commands_say() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == reference(), (
        "stale: python -m dae_pacs.cli.reference > docs/cli.md"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("fly",), ("send",), ("serve", "--port", "many"), ("serve", "--port", "70000"),
        ("denoise", "x", "-o", "y", "--strength", "2"),
    ],
)  # fmt: skip
def test_a_wrong_command_line_ends_with_two(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert ran.code == 2
    assert "Usage: dae-pacs" in ran.err


def test_an_error_of_ours_is_words_and_one(run: Run, tmp_path: Path) -> None:
    ran = run("config", "show", "--config", tmp_path / "none.toml")

    assert ran.code == 1
    assert ran.out == ""
    assert ran.err.startswith(f"Error: Configuration {tmp_path}/none.toml: there is no such file.")
    assert "Traceback" not in ran.err


def test_an_error_that_nobody_foresaw_is_words_too(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom dae_pacs.cli.failures import explain_crashes\n"
        "explain_crashes(verbose=len(sys.argv) > 1)\nint('boom')"
    )
    short = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    long = subprocess.run([sys.executable, "-c", program, "v"], capture_output=True, text=True, check=False)

    assert short.returncode == 1
    assert short.stderr.startswith("Error: Unexpected ValueError at ")
    assert "Traceback" not in short.stderr
    assert "--verbose" in short.stderr
    assert "Traceback" in long.stderr


def test_verbose_lowers_the_level_for_all_that_follows(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_LOG__LEVEL", "INFO")

    assert run("--verbose", "config", "show").code == 0
    assert os.environ["DAE_PACS_LOG__LEVEL"] == "DEBUG"
