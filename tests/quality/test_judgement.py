from dataclasses import replace

import numpy as np
import pytest

from dae_pacs.quality.evidence import Evidence, Shares, gather
from dae_pacs.quality.judgement import CHECKS, STEPS, Judgement, check_noise, judge_group
from dae_pacs.quality.verdict import Check, Verdict, worst


def same(frames: np.ndarray) -> np.ndarray:
    return frames


@pytest.fixture
def found(clean, noisy, white) -> Evidence:
    keep = np.zeros(clean.shape, dtype=bool)
    return gather(noisy, clean, keep, noise=white, strength=1, shares=Shares.among(1))


def verdicts(judgement: Judgement) -> dict[str, Verdict]:
    return {check.key: check.verdict for check in judgement.checks}


def test_every_question_is_put_in_order(found, white):
    steps = []
    made = judge_group(found, same, noise=white, strength=1, unit="HU", advance=lambda: steps.append(1))
    assert tuple(verdicts(made)) == CHECKS
    assert len(steps) == STEPS
    assert verdicts(made)["detectability"] is Verdict.UNKNOWN, "twelve places are too few"
    assert all(check.rule or check.verdict is Verdict.UNKNOWN for check in made.checks)


def test_unknown_noise_takes_back_what_rests_on_it(found, white):
    bound = replace(white, origin="fallback")
    made = verdicts(judge_group(found, same, noise=bound, strength=1, unit="HU"))
    assert made["noise"] is Verdict.LOOK
    assert {made[key] for key in ("variance", "spectrum", "bias", "lesions", "edges")} == {Verdict.UNKNOWN}
    assert made["structure"] is Verdict.GOOD


def test_badly_fitted_noise_calls_nothing_bad_that_is_compared_with_it(found, white):
    small = replace(white, variances=(25.0,), misfit=3.0, origin="estimate")
    louder = replace(found, removed=2 * found.removed)
    made = judge_group(louder, same, noise=small, strength=1, unit="HU")
    assert verdicts(made)["variance"] is Verdict.LOOK
    assert "not well known" in made.checks[1].finding
    assert check_noise(replace(white, misfit=0.1)).verdict is Verdict.GOOD


def test_tiny_images_are_told(clean, noisy, white):
    keep = np.zeros((48, 48), dtype=bool)
    part = noisy[:48, :48], clean[:48, :48]
    little = gather(*part, keep, noise=white, strength=1, shares=Shares.among(1))
    made = judge_group(little, same, noise=white, strength=1, unit="HU")
    assert set(verdicts(made).values()) == {Verdict.GOOD, Verdict.UNKNOWN}
    assert made.curves is None


def test_gravest_verdict_wins_and_the_unknown_never():
    assert worst([Verdict.GOOD, Verdict.UNKNOWN]) is Verdict.GOOD
    assert worst([Verdict.LOOK, Verdict.BAD, Verdict.GOOD]) is Verdict.BAD
    assert worst([]) is Verdict.UNKNOWN
    assert Check("key", "question", Verdict.GOOD, "", "", "").rows == ()
