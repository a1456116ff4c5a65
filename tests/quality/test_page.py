import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from dae_pacs.quality.evidence import Shares, gather
from dae_pacs.quality.fidelity import Fidelity, Nearness
from dae_pacs.quality.figures import pictures
from dae_pacs.quality.judgement import CHECKS, judge_group
from dae_pacs.quality.page import EXPLANATIONS, format_number, render
from dae_pacs.quality.report import Evaluation, Group, Pictures, summary, to_json, verdict_of
from dae_pacs.quality.verdict import Verdict

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Outline(HTMLParser):
    """Collects what a page refers to, and finds tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def evaluation(clean, noisy, white, blurred) -> Evaluation:
    after = blurred(noisy, 0.6)
    keep = np.zeros(clean.shape, dtype=bool)
    found = gather(noisy, after, keep, noise=white, strength=1, shares=Shares.among(1))
    judged = judge_group(found, lambda f: blurred(f, 0.6), noise=white, strength=1, unit="HU")
    drawn = Pictures("a/<b>.png", *pictures(noisy, after, keep, window=None))
    group = Group("a", "CT", "HU", ("a/<b>.png",), 3, white, judged, (drawn,))
    near = Nearness(30.0, 0.9, 10.0), Nearness(float("inf"), 1.0, 0.0)
    return Evaluation(
        model={"name": "a_model", "version": "0.1.0", "digest": "ab12" * 16, "default_strength": 0.7},
        data="images",
        reference="clean",
        strength=1.0,
        device="cpu",
        date="2026-11-22 19:00+00:00",
        version="0.1.0",
        groups=(group, replace(group, name="b", pictures=())),
        fidelity=(Fidelity("a/<b>.png", "CT", "HU", *near),),
        left_out=(("c.png", "it is broken"),),
        found=5,
        settings={"Most images": "20"},
    )


def test_page_is_whole_and_needs_nothing_else(evaluation):
    html = render(evaluation)
    page = Outline()
    page.feed(html)
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert not re.search(r"https?://", html)
    assert "script" not in page.tags
    assert page.tags.count("h1") == 1


def test_page_says_what_a_reader_must_know(evaluation):
    page = Outline()
    page.feed(render(evaluation))
    text = " ".join(" ".join(page.text).split())
    for words in ("show patients", "a_model", "ab12" * 16, "2026-11-22", "it is broken", "a/<b>.png", "∞"):
        assert words in text
    for check in evaluation.groups[0].judgement.checks:
        assert check.question in text
        assert check.finding in text
        assert EXPLANATIONS[check.key] in text


def test_every_check_is_explained():
    assert set(EXPLANATIONS) == {"fidelity", *CHECKS}


def test_summary_names_the_worst_group(evaluation):
    lines = {line.key: line for line in summary(evaluation)}
    assert lines["structure"].verdict is Verdict.BAD
    assert lines["structure"].finding.startswith("a: ")
    assert lines["structure"].counts == {"bad": 2}
    assert verdict_of(evaluation) is Verdict.BAD


def test_json_holds_every_number_and_nothing_that_is_none(evaluation):
    read = json.loads(to_json(evaluation))
    assert read["verdict"] == "bad"
    assert [check["key"] for check in read["groups"][0]["checks"]] == list(CHECKS)
    assert read["fidelity"]["images"][0]["after"]["psnr_db"] is None, "infinity is no JSON"
    assert len(read["groups"][0]["spectra"]["frequency"]) == len(read["groups"][0]["spectra"]["model"])
    assert "data:image" not in to_json(evaluation)


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, ""), (3, "3"), (0.12345, "0.123"), (-0.00001, "-1.0e-05"), (123.45, "123.5"), (4711.2, "4711"),
     (float("inf"), "∞"), ("0.1 to 0.2", "0.1 to 0.2"), (0.0, "0.000")],
)  # fmt: skip
def test_numbers_are_written_short(value, words):
    assert format_number(value) == words
