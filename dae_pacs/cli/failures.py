"""How a command says what went wrong: in words, on standard error, without a traceback."""

import sys
import traceback
from types import TracebackType

OK = 0
FAILED = 1
INTERRUPTED = 130
"""What a shell reports for a program that SIGINT ended: 128 and the signal's number."""


def say_error(message: str) -> None:
    """Print an error's words on standard error, as they are, however narrow the terminal."""
    # rich costs 0.05 s to import, which only a command that failed pays.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("Error: ", "bold red"), message))


def explain_crashes(*, verbose: bool) -> None:
    """Replace the traceback of an error that nobody foresaw by words about it."""

    def say(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        frames = traceback.extract_tb(trace)
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        advice = "" if verbose else " Run it again as `dae-pacs --verbose ...` to see the way there."
        if verbose:
            traceback.print_exception(kind, error, trace)
        say_error(
            f"Unexpected {kind.__name__}{place}: {error}. "
            f"This is a mistake in dae-pacs: please report it.{advice}"
        )

    sys.excepthook = say
