"""Bad input is refused in words: quickly, in little memory, and without a crash."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LONGEST_S, LARGEST_GROWTH_MB = 10.0, 200.0
PROGRAM = """
import json, sys, time
from pathlib import Path
from dae_pacs.errors import DaePacsError
from dae_pacs.image import files, pixels
from dae_pacs.image.header import read_header, summarise
from dae_pacs.image.support import reason_not_denoised
import imagecodecs


def memory_mb(name):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(name))


def judge(path):
    try:
        with path.open("rb") as file:
            reason = summarise(read_header(file)).reason
        ds = files.read(path)
        reason = reason or reason_not_denoised(ds)
        if reason:
            return "passed over", reason
        decoded = pixels.decode(ds)
        pixels.encode(decoded.values, decoded)
        return "decoded", ""
    except DaePacsError as error:
        return "refused", str(error)


pixels.decode(files.read(Path(sys.argv[1])))  # what the first decoding loads counts for the baseline
for name in sys.argv[2:]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (proc(5))
    before, started = memory_mb("VmRSS"), time.perf_counter()
    outcome, reason = judge(Path(name))
    row = {"path": name, "outcome": outcome, "reason": reason, "seconds": time.perf_counter() - started}
    print(json.dumps(row | {"growth_mb": memory_mb("VmHWM") - before}), flush=True)
"""


@pytest.fixture(scope="module")
def fates(broken: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Let one process read them all, as a worker does; what it says of each before it ends."""
    from pydicom.data import get_testdata_file  # noqa: PLC0415

    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(get_testdata_file("CT_small.dcm")),
        *map(str, broken.values()),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    rows = {row["path"]: row for row in map(json.loads, result.stdout.splitlines())}
    missing = [name for name, path in broken.items() if str(path) not in rows]
    assert not missing, f"the process ended with {result.returncode} at {missing[0]}: {result.stderr[-2000:]}"
    return {name: rows[str(path)] for name, path in broken.items()}


def test_each_is_refused_in_words(fates: dict[str, dict[str, Any]], words: dict[str, str]) -> None:
    wrong = {
        name: (fate["outcome"], fate["reason"])
        for name, fate in fates.items()
        if words[name] and (fate["outcome"] == "decoded" or not re.search(words[name], fate["reason"]))
    }
    assert not wrong
    assert all(len(fate["reason"].split()) > 3 for fate in fates.values() if fate["outcome"] != "decoded")


def test_none_takes_long_or_much_memory(fates: dict[str, dict[str, Any]]) -> None:
    slow = {name: fate["seconds"] for name, fate in fates.items() if fate["seconds"] > LONGEST_S}
    large = {name: fate["growth_mb"] for name, fate in fates.items() if fate["growth_mb"] > LARGEST_GROWTH_MB}
    assert not slow
    assert not large
