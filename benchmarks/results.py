"""Keep the measured rows in results.json, and render RESULTS.md from them.

    python benchmarks/results.py     renders, and says which promised rows are missing

A benchmark calls `record` with its rows; a row of the same id is replaced.
"""

import itertools
import json
import operator
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results.json"
PROMISED = FOLDER / "promised.json"
RENDERED = FOLDER / "RESULTS.md"

KEYS = (
    "id",
    "value",
    "unit",
    "peer",
    "peer_value",
    "spread",
    "command",
    "machine",
    "commit",
    "date",
    "note",
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """Rows that read better side by side."""

    title: str
    pattern: re.Pattern[str]
    """Of an id; its groups `row` and `column` say where the row stands."""


TABLES = tuple(
    Table(title, re.compile(pattern))
    for title, pattern in (
        (
            "Denoising: PSNR, dB",
            r"denoising_psnr_(?P<row>(?!textured).+)_(?P<column>uncorrelated|correlated|jpeg)_db",
        ),
        (
            "Denoising: PSNR of textured parts, dB",
            r"denoising_psnr_textured_(?P<row>.+)_(?P<column>uncorrelated|correlated|jpeg)_db",
        ),
        ("Denoising: SSIM", r"denoising_ssim_(?P<row>.+)_(?P<column>uncorrelated|correlated|jpeg)"),
        (
            "Denoising: PSNR by level of noise, dB",
            r"denoising_psnr_(?P<row>.+)_(?P<column>(?:uncorrelated|correlated|jpeg)_at_[\d.]+)_db",
        ),
        (
            "Denoising: PSNR against steps of training, dB",
            r"denoising_curve_(?P<row>.+_(?:uncorrelated|correlated|jpeg))_(?P<column>\d+)_db",
        ),
    )
)
"""A row may be in one; besides, its cell has ± the row's `peer_value` where `peer` is "standard error"."""
STANDARD_ERROR = "standard error"


def record(rows: list[Row], *, results: Path = RESULTS) -> None:
    """Merge rows into results.json by id, with machine, commit and date filled in, and render RESULTS.md.

    Args:
        rows: each with at least `id`, `value` and `unit`; `value` None needs a `note` that says why.
        results: the file to merge into.

    Raises:
        ValueError: a row lacks something, or has a key that no row has.
    """
    here = {
        "command": f"python benchmarks/{Path(sys.argv[0]).name}",
        "machine": machine(),
        "commit": commit(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }
    merged = {row["id"]: row for row in _read(results)}
    for row in rows:
        merged[row["id"]] = dict.fromkeys(KEYS) | here | _checked(row)
    ordered = [merged[key] for key in sorted(merged)]
    text = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in ordered)
    results.write_text(f"[\n{text}\n]\n")
    if results == RESULTS:
        RENDERED.write_text(render(ordered, _read(PROMISED)))


def render(rows: list[Row], promised: list[Row]) -> str:
    """Write the measured rows as Markdown: first what was promised, then the rest."""
    measured = {row["id"]: row for row in rows}
    known = {promise["id"] for promise in promised}
    lines = [
        "# Results",
        "",
        "Rendered from `results.json` by `python benchmarks/results.py`; not edited by hand.",
        "Machine, commit, date and command of each row stand below the tables.",
        "",
        "## Promised",
        "",
        "| | what | measured | pass | aim | verdict |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        _promised_line(promise, measured[promise["id"]]) for promise in promised if promise["id"] in measured
    ]
    missing = [f"`{promise['id']}`" for promise in promised if promise["id"] not in measured]
    lines += ["", "Not measured yet: " + (", ".join(missing) or "nothing") + "."]
    others = [row for row in rows if row["id"] not in known and _table_of(row) is None]
    if others:
        lines += ["", "## Measured besides", "", "| | measured |", "|---|---|"]
        lines += [f"| `{row['id']}` | {_value(row)} |" for row in others]
    for table in TABLES:
        lines += _table_lines(table, rows)
    return "\n".join([*lines, "", "## How", "", *_origins(rows)]) + "\n"


def _table_of(row: Row) -> Table | None:
    return next((table for table in TABLES if table.pattern.fullmatch(row["id"])), None)


def _table_lines(table: Table, rows: list[Row]) -> list[str]:
    """Write a table's rows, the best of its first column first; nothing where there are none."""
    cells: dict[str, dict[str, Row]] = {}
    for row in rows:
        if found := table.pattern.fullmatch(row["id"]):
            cells.setdefault(found["row"], {})[found["column"]] = row
    if not cells:
        return []
    columns = sorted({column for line in cells.values() for column in line}, key=_by_number)
    lines = ["", f"## {table.title}", "", f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    names = sorted(cells, key=lambda name: [_rank(cells[name].get(column)) for column in columns])
    return lines + [
        f"| {name} | {' | '.join(_cell(cells[name].get(column)) for column in columns)} |" for name in names
    ]


def _by_number(column: str) -> tuple[str, float]:
    """Sort "x_at_0.1" behind "x_at_0.05", and 1600 behind 200."""
    words, _, number = column.rpartition("_")
    try:
        return words, float(number)
    except ValueError:
        return column, 0.0


def _rank(row: Row | None) -> float:
    return -row["value"] if row is not None and row["value"] is not None else float("inf")


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row["value"] is None:
        return "-"
    digits = 2 if row["unit"] else 3
    error = f" ± {row['peer_value']:.{digits}f}" if row["peer"] == STANDARD_ERROR else ""
    return f"{row['value']:.{digits}f}{error}"


def _origins(rows: list[Row]) -> list[str]:
    """Say by which command, where and when the rows came about, with their notes."""
    lines = []
    key = operator.itemgetter("command", "machine", "commit", "date")
    for origin, group in itertools.groupby(sorted(rows, key=key), key=key):
        lines.append("`{}` on {}, commit {}, {}:".format(*origin))
        told: set[str] = set()
        for row in group:
            if _table_of(row) is None:
                lines.append(f"- `{row['id']}`" + (f": {row['note']}" if row["note"] else ""))
            elif row["note"] and row["note"] not in told:  # the same of all a method's rows
                told.add(row["note"])
                lines.append(f"- `{row['id']}` and its like: {row['note']}")
        lines.append("")
    return lines[:-1]


def verdict(promise: Row, value: float | None) -> str:
    """Hold a value against its promise."""
    if value is None:
        return "not measurable here"
    for bound in ("aim", "pass"):
        wanted = promise[bound]
        if wanted is not None and (value >= wanted if promise["bound"] == "at least" else value <= wanted):
            return "aim reached" if bound == "aim" else "pass"
    return "below the promise"


def machine() -> str:
    """Name this machine: processor, cores, memory."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory_gb:.0f} GB"


def commit() -> str:
    """Name the commit that is checked out, with a plus sign where the tree has changes beside it."""
    name = _git("rev-parse", "--short", "HEAD")
    if not name:
        return "none"
    # The results themselves change with every measurement.
    changed = _git(
        "status",
        "--porcelain",
        "--",
        ":/",
        ":(exclude,top)benchmarks/*.json",
        ":(exclude,top)benchmarks/*.md",
    )
    return f"{name}+" if changed else name


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def _git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=FOLDER, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _checked(row: Row) -> Row:
    unknown = set(row) - set(KEYS)
    missing = {"id", "value", "unit"} - set(row)
    if unknown or missing:
        raise ValueError(
            f"row {row.get('id')!r}: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}"
        )
    if row["value"] is None and not row.get("note"):
        raise ValueError(f"row {row['id']!r} has no value; its note must say why")
    return row


def _promised_line(promise: Row, row: Row) -> str:
    sign = "≥" if promise["bound"] == "at least" else "≤"
    bounds = [f"{sign} {promise[key]:,}" if promise[key] is not None else "" for key in ("pass", "aim")]
    cells = [f"`{row['id']}`", promise["what"], _value(row), *bounds, verdict(promise, row["value"])]
    return f"| {' | '.join(cells)} |"


def _value(row: Row) -> str:
    if row["value"] is None:
        return "-"
    text = f"{_number(row['value'])} {row['unit']}".strip()
    if row["spread"]:
        text += f" ({' to '.join(_number(end) for end in row['spread'])})"
    if row["peer"]:
        text += f"; {row['peer']}: {_number(row['peer_value'])}"
    return text


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}"


def _read(path: Path) -> list[Row]:
    return json.loads(path.read_text()) if path.is_file() else []


def main() -> None:
    rows, promised = _read(RESULTS), _read(PROMISED)
    RENDERED.write_text(render(rows, promised))
    missing = sorted({promise["id"] for promise in promised} - {row["id"] for row in rows})
    print(f"{RENDERED.name}: {len(rows)} rows; of {len(promised)} promised, {len(missing)} are missing")
    for name in missing:
        print(f"  missing: {name}")


if __name__ == "__main__":
    main()
