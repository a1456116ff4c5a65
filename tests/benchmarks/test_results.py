import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", FOLDER / "results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_recorded_row_replaces_the_one_of_its_id(results: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.record(
        [{"id": "b", "value": 1.0, "unit": "s"}, {"id": "a", "value": 2, "unit": ""}], results=path
    )
    results.record([{"id": "b", "value": 3.0, "unit": "s"}], results=path)
    rows = json.loads(path.read_text())
    assert [(row["id"], row["value"]) for row in rows] == [("a", 2), ("b", 3.0)]
    assert all(list(row) == list(results.KEYS) for row in rows)
    assert all(row["machine"] and row["commit"] and row["date"] and row["command"] for row in rows)


def test_row_without_value_needs_its_reason(results: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(ValueError, match="note must say why"):
        results.record([{"id": "a", "value": None, "unit": ""}], results=path)
    results.record([{"id": "a", "value": None, "unit": "", "note": "no GPU here"}], results=path)
    assert "no GPU here" in results.render(json.loads(path.read_text()), [])


def test_misspelt_key_is_refused(results: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unit"):
        results.record([{"id": "a", "value": 1, "units": "s"}], results=tmp_path / "results.json")


@pytest.mark.parametrize(
    ("bound", "value", "verdict"),
    [
        ("at most", 0.25, "aim reached"),
        ("at most", 0.4, "pass"),
        ("at most", 0.6, "below the promise"),
        ("at least", 0.6, "aim reached"),
        ("at least", 0.2, "below the promise"),
    ],
)
def test_verdict_holds_value_against_promise(
    results: ModuleType, bound: str, value: float, verdict: str
) -> None:
    limits = {"pass": 0.5, "aim": 0.3} if bound == "at most" else {"pass": 0.3, "aim": 0.5}
    assert results.verdict({"bound": bound, **limits}, value) == verdict


def test_rendered_results_are_those_of_the_file(results: ModuleType) -> None:
    rendered = results.render(results._read(results.RESULTS), results._read(results.PROMISED))
    assert results.RENDERED.read_text() == rendered, "render again with: python benchmarks/results.py"
