"""A short run of fuzz.py; what it found before stays mended; and its own eye is sharp."""

import json
from pathlib import Path

import parsers
import pytest
from fuzz import Report, fuzz, fuzz_parsers
from fuzzed_node import FuzzedNode
from grammar import Input

from dae_pacs import failpoints

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.json"))


def kept(path: Path) -> Input:
    finding = json.loads(path.read_text())
    return Input(tuple(bytes.fromhex(part) for part in finding["parts"]), finding["ending"])


@pytest.mark.slow
def test_node_bears_some_hundred_broken_conversations(tmp_path):
    report = fuzz(tmp_path, seed=4, count=400, parsed=600)
    assert (report.inputs, report.parsed, report.findings) == (400, 600, [])
    assert report.answered["0000"] > 20, "some of them are whole"
    assert report.answered["C000"] > 20, "some of them can't be understood"


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_parsers_bear_what_was_found_before(path, tmp_path):
    assert parsers.trouble_with(kept(path), tmp_path) == ""


@pytest.mark.slow
def test_node_bears_what_was_found_before(tmp_path):
    with FuzzedNode(tmp_path) as node:
        assert list(node.say([(path.stem, kept(path)) for path in CORPUS])) == []
        assert node.troubles() == []
        assert node.end() == []


def test_error_that_is_none_of_ours_is_a_finding(monkeypatch):
    def fall(_data: bytes) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(parsers.commands, "parse", fall)
    report = Report()
    fuzz_parsers(report, seed=4, count=3)
    assert "ZeroDivisionError at test_fuzz.py" in report.findings[0].what
    assert report.findings[0].parts


@pytest.mark.slow
def test_exception_inside_the_node_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setenv(failpoints.VARIABLE, "receive.arrived=raise:RuntimeError@2")
    with FuzzedNode(tmp_path) as node:  # whose first object is its own, to see that it works
        whole = kept(CORPUS[0].with_name("intercept-of-whole-numbers.json"))
        assert list(node.say([("whole", whole)])) == []
        assert any("unexpected" in trouble for trouble in node.troubles())
        assert node.statuses == {"0110": 1}
