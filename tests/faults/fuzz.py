"""Say broken things to a node, thousands of them, and see that it neither falls, hangs, grows nor forgets.

    python tests/faults/fuzz.py [--inputs 20000] [--parsed 100000] [--seed 1] [--keep FOLDER] [--json FILE]

Each input is a conversation that was valid until a grammar broke it (grammar.py, broken_data_sets.py): PDUs,
command sets, data sets. `--inputs` go over real sockets to a node of its own process; `--parsed` go to the
same parsers in this process, and what they take goes on to routing and to the decoder of pixels. Findings:

- the node ended, or hung a connection beyond its deadline
- an exception that is none of ours: in the node's log, or out of a parser
- a parser that takes more than seconds for one input
- success answered for an object that the ledger does not hold, or a file left behind in incoming/
- memory, open files or threads that grow, a patient's name in the log, no C-ECHO or no good object afterwards

Inputs with a finding are written to `--keep`; those whose fault was mended stand in corpus/ and are replayed
by test_fuzz.py. Ends with 1 where there is a finding.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import parsers
from fuzzed_node import FuzzedNode
from grammar import Input, conversation
from seeds import valid_data_sets

WARM_UP = 0.2
"""Of the inputs; memory is compared from then on."""
BATCH = 500
"""Inputs between two looks at the node."""
MOST_GROWTH_MB = 20.0
UID_ROOT = "2.25.7000"


@dataclass(frozen=True)
class Finding:
    """One input, or one batch of them, that the node or a parser did not bear."""

    what: str
    seed: str
    """Of the input or of the first of the batch: `conversation(Random(seed), ...)` makes it again."""
    parts: tuple[str, ...] = ()
    """What was sent, in hexadecimal."""
    ending: str = ""


@dataclass
class Report:
    """What came of it."""

    inputs: int = 0
    parsed: int = 0
    answered: dict[str, int] = field(default_factory=dict)
    """How many C-STORE responses had which status."""
    rss_growth_mb: float = 0.0
    findings: list[Finding] = field(default_factory=list)


def inputs(seed: int, count: int, *, start: int = 0) -> Iterator[tuple[str, Input]]:
    """Make inputs, each with the text that seeds it."""
    seeds = valid_data_sets()
    for number in range(start, start + count):
        name = f"{seed}:{number}"
        yield name, conversation(random.Random(name), seeds, f"{UID_ROOT}.{seed}.{number}")


def fuzz_parsers(report: Report, *, seed: int, count: int) -> None:
    """Give inputs to the parsers in this process."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        for name, given in inputs(seed, count, start=10**9):
            trouble = parsers.trouble_with(given, Path(folder))
            report.parsed += 1
            if trouble:
                report.findings.append(_finding(trouble, name, given))


def fuzz_node(report: Report, node: FuzzedNode, *, seed: int, count: int) -> None:
    """Say inputs to a node, with a look at it after each batch."""
    warm_mb = node.resident_mb()
    is_warm = False
    batch: list[tuple[str, Input]] = []
    for number, one in enumerate(inputs(seed, count), start=1):
        batch.append(one)
        if len(batch) < BATCH and number < count:
            continue
        for name, given, trouble in node.say(batch):
            report.findings.append(_finding(trouble, name, given))
        report.inputs += len(batch)
        report.findings += [Finding(trouble, batch[0][0]) for trouble in node.troubles()]
        if not is_warm and number >= WARM_UP * count:
            warm_mb, is_warm = node.resident_mb(), True
        batch = []
        print(f"{number} inputs, {len(report.findings)} findings", file=sys.stderr)
        if not node.is_running():
            report.findings.append(Finding("the node ended", one[0]))
            return
    report.rss_growth_mb = round(node.resident_mb() - warm_mb, 1)
    report.answered = dict(sorted(node.statuses.items()))
    if report.rss_growth_mb > MOST_GROWTH_MB:
        report.findings.append(Finding(f"resident memory grew by {report.rss_growth_mb} MB", f"{seed}:"))
    report.findings += [Finding(trouble, f"{seed}:") for trouble in node.end()]


def _finding(trouble: str, name: str, given: Input) -> Finding:
    return Finding(trouble, name, tuple(part.hex() for part in given.parts), given.ending)


def fuzz(folder: Path, *, seed: int, count: int, parsed: int) -> Report:
    """Run both."""
    report = Report()
    fuzz_parsers(report, seed=seed, count=parsed)
    if count:
        with ExitStack() as stack:
            node = stack.enter_context(FuzzedNode(folder))
            fuzz_node(report, node, seed=seed, count=count)
    return report


def keep(finding: Finding, folder: Path) -> None:
    """Write an input down, as a test can replay it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.seed.replace(':', '-')}.json"
    path.write_text(json.dumps(asdict(finding), indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--parsed", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the inputs with a finding")
    parser.add_argument("--json", type=Path, help="write the report there, too")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        report = fuzz(Path(folder), seed=given.seed, count=given.inputs, parsed=given.parsed)
    for finding in report.findings:
        print(f"{finding.seed} {finding.what}", file=sys.stderr)
        if given.keep is not None:
            keep(finding, given.keep)
    summary: dict[str, Any] = asdict(report) | {"seconds": round(time.monotonic() - started)}
    summary["findings"] = [{"what": finding.what, "seed": finding.seed} for finding in report.findings]
    print(json.dumps(summary, indent=2))
    if given.json is not None:
        given.json.write_text(json.dumps(summary, indent=2))
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
