"""Which devices this machine's workers run on: each GPU has a worker process of its own.

The receiving process never imports torch, and a GPU that the driver lists may be hidden from torch or be of
no use to it. So where there is more than one, torch is asked, in a process of a moment.
"""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

_DEVICE_FILES: Final = Path("/dev")
_ASK_S: Final = 60.0
"""torch takes some seconds to load from a cold disk; without an answer the node goes on with one device."""
_QUESTION: Final = "import torch; print(torch.cuda.device_count())"


def workers_on(device: str, *, count: Callable[[], int] | None = None) -> tuple[str, ...]:
    """Say which device each worker gets.

    Args:
        device: as configured: "auto" takes every GPU, or the CPU where there is none; "cuda" every GPU; "cpu"
            and "cuda:N" that one.
        count: of the GPUs that torch can use.
    """
    if device not in {"auto", "cuda"}:
        return (device,)
    gpus = (count or _count)()
    if gpus < 2:
        return (device,)
    return tuple(f"cuda:{number}" for number in range(gpus))


def _count() -> int:
    """Count the GPUs that torch can use, where the driver lists several; 1 stands for "at most one"."""
    if len(list(_DEVICE_FILES.glob("nvidia[0-9]*"))) < 2:
        return 1
    try:
        asked = subprocess.run(  # noqa: S603  our own interpreter, words of ours
            [sys.executable, "-c", _QUESTION], capture_output=True, text=True, timeout=_ASK_S, check=True
        )
        return int(asked.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        logger.warning("GPUs not counted, one is used", extra={"why": type(error).__name__})
        return 1
