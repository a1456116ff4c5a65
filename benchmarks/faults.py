"""Kill, fuzz and soak the node, and count the named fault cases that pass.

    python benchmarks/faults.py [--only crash|fuzz|soak|cases] [--rounds 200] [--inputs 20000]
        [--parsed 100000] [--associations 10000] [--objects 50000] [--folder DIR] [--dry]

Each part is a command of its own in tests/faults/, which says what it counts and how: crash.py (kill -9 under
load, at each failpoint and at random moments), fuzz.py (broken conversations over sockets, and the parsers in
one process), soak.py (associations by the thousand). A case is a test of tests/faults or tests/faults_image,
with all of its parameters; one that fails leaves the row without a value. About an hour in all on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from results import Row, record

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ROOT / "tests" / "faults"
CASES = ("tests/faults", "tests/faults_image")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--parsed", type=int, default=100_000)
    parser.add_argument("--associations", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=50_000)
    parser.add_argument(
        "--folder", type=Path, help="where spools lie; the disk's temporary folder if not given"
    )
    parser.add_argument("--dry", action="store_true", help="print the rows and record nothing")
    given = parser.parse_args()
    for name in [given.only] if given.only else PARTS:
        rows = PARTS[name](given)
        for row in rows:
            row["command"] = " ".join(["python benchmarks/faults.py", *sys.argv[1:]])
            print(row)
        if not given.dry:
            record(rows)


def _crash(given: argparse.Namespace) -> list[Row]:
    found = _run("crash.py", given, f"--rounds={given.rounds}")
    points = len([point for point in found["kills"] if point != "random"])
    note = (
        f"{found['acknowledged']} acknowledged, {found['delivered']} delivered (originals and results) "
        f"to a counting SCP{' and to Orthanc' if found['orthanc'] else ''}; killed at {points} "
        f"failpoints and {found['kills'].get('random', 0)} times at random; {found['repeats']} repeats "
        f"(the same object with the same bytes once more after a kill); {found['seconds']} s"
    )
    return [
        {"id": "crash_rounds", "value": found["rounds"], "unit": "", "note": note},
        {"id": "crash_lost", "value": len(found["lost"]), "unit": ""},
        {"id": "crash_doubled", "value": len(found["doubled"]), "unit": ""},
    ]


def _fuzz(given: argparse.Namespace) -> list[Row]:
    found = _run("fuzz.py", None, f"--inputs={given.inputs}", f"--parsed={given.parsed}")
    answers = ", ".join(f"{status}: {count}" for status, count in found["answered"].items())
    note = (
        f"{found['inputs']} over sockets to a node of its own process, {found['parsed']} to the same parsers "
        f"and to the decoder in one process; C-STORE answers {answers}; resident memory of the node "
        f"{found['rss_growth_mb']:+} MB; {found['seconds']} s"
    )
    return [
        {"id": "fuzz_inputs", "value": found["inputs"] + found["parsed"], "unit": "", "note": note},
        {"id": "fuzz_findings", "value": len(found["findings"]), "unit": ""},
    ]


def _soak(given: argparse.Namespace) -> list[Row]:
    sizes = (f"--associations={given.associations}", f"--objects={given.objects}")
    found = _run("soak.py", given, *sizes)
    files, threads = found["files"], found["threads"]
    note = (
        f"{found['objects']} objects, besides {found['rejected']} associations rejected; open files "
        f"{files[0]} at the start, {files[2]} at the end; threads {threads[0]} and {threads[2]}; "
        f"troubles: {'; '.join(found['troubles']) or 'none'}; {found['seconds']} s"
    )
    total = found["associations"] + found["rejected"]
    return [
        {"id": "soak_associations", "value": total, "unit": "", "note": note},
        {"id": "soak_rss_growth_mb", "value": found["rss_growth_mb"], "unit": "MB", "note": _RSS_NOTE},
    ]


_RSS_NOTE = (
    "receiving process: the median of its last samples less that of the first after a warm-up of a tenth"
)


def _cases(_given: argparse.Namespace) -> list[Row]:
    """Run every named case, and count those that pass with all of their parameters."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "cases.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *CASES,
        ]
        subprocess.run(command, cwd=ROOT, check=False)
        cases = list(ET.parse(report).getroot().iter("testcase"))
    names: dict[str, list[str]] = {}
    for case in cases:
        name = f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}"
        names.setdefault(name, []).append(
            next((part.tag for part in case if part.tag in _NOT_PASSED), "passed")
        )
    passed = [
        name for name, outcomes in names.items() if "passed" in outcomes and not _FAILED & set(outcomes)
    ]
    failed = [name for name, outcomes in names.items() if _FAILED & set(outcomes)]
    skipped = sum(outcomes.count("skipped") for outcomes in names.values())
    note = f"{len(cases) - skipped} with their parameters; {skipped} skipped, each with its reason"
    if failed:
        note = f"fail: {', '.join(failed)}"
    return [{"id": "fault_cases", "value": None if failed else len(passed), "unit": "", "note": note}]


_FAILED = {"failure", "error"}
_NOT_PASSED = {*_FAILED, "skipped"}


def _run(script: str, given: argparse.Namespace | None, *options: str) -> dict[str, Any]:
    """Run one of the commands of tests/faults and read its report, also where it ends with findings."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, str(FAULTS / script), *options, f"--json={report}"]
        if given is not None and given.folder is not None:
            command.append(f"--folder={given.folder}")
        subprocess.run(command, cwd=ROOT, check=False)
        if not report.exists():
            raise RuntimeError(f"{script} ended without a report; its words stand above")
        return dict(json.loads(report.read_text()))


PARTS = {"crash": _crash, "fuzz": _fuzz, "soak": _soak, "cases": _cases}


if __name__ == "__main__":
    main()
