from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Import = Callable[[str], ModuleType]


@pytest.fixture
def scoring(benchmark_module: Import) -> ModuleType:
    return benchmark_module("denoising_score")


def cases(*psnr: float) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            "case": f"case-{k}",
            "level": 0.02 if k % 2 else 0.05,
            "psnr": value,
            "psnr_textured": value - 3,
            "ssim": 0.9,
        }
        for k, value in enumerate(psnr)
    )


def test_mean_stands_beside_its_standard_error(scoring: ModuleType) -> None:
    rows = {
        row["id"]: row
        for row in scoring.method_rows(scoring.Scores("nlm_vst", "jpeg", "A note.", cases(30, 34)))
    }
    row = rows["denoising_psnr_nlm_vst_jpeg_db"]
    assert (row["value"], row["peer"], row["peer_value"]) == (32, "standard error", 2)
    assert rows["denoising_psnr_textured_nlm_vst_jpeg_db"]["value"] == 29
    assert rows["denoising_psnr_nlm_vst_jpeg_at_0.02_db"]["value"] == 34
    assert rows["denoising_ssim_nlm_vst_jpeg"]["value"] == 0.9


def test_gap_is_the_mean_of_paired_differences(scoring: ModuleType) -> None:
    kept = {
        (name, "correlated"): scoring.Scores(name, "correlated", f"{name}.", cases(*psnr))
        for name, psnr in {"recorrupt": (30, 34), "supervised": (30.2, 34.4), "best_blur": (28, 30)}.items()
    }
    rows = {row["id"]: row for row in scoring.rows_of(kept)}
    gap = rows["psnr_gap_supervised_correlated_db"]
    assert gap["value"] == pytest.approx(0.3)
    assert gap["peer"] == "PSNR of supervised"
    assert rows["psnr_over_blur_correlated_db"]["value"] == pytest.approx(3)
    assert "psnr_over_n2v_correlated_db" not in rows


def test_gap_over_several_variants_is_that_over_the_best(scoring: ModuleType) -> None:
    psnr = {"recorrupt": (30, 34), "noise2void_careamics": (28, 31), "noise2void2_careamics": (20, 21)}
    kept = {
        (name, "correlated"): scoring.Scores(name, "correlated", "", cases(*values))
        for name, values in psnr.items()
    }
    rows = {row["id"]: row for row in scoring.rows_of(kept)}
    assert rows["psnr_over_n2v_correlated_db"]["value"] == pytest.approx(2.5)


def test_method_that_failed_says_why_in_every_row(scoring: ModuleType) -> None:
    kept = {
        ("recorrupt", "correlated"): scoring.Scores("recorrupt", "correlated", "", cases(30, 34)),
        ("bm3d_vst", "correlated"): scoring.Scores("bm3d_vst", "correlated", "not installed here", ()),
    }
    rows = {row["id"]: row for row in scoring.rows_of(kept)}
    for name in ("denoising_psnr_bm3d_vst_correlated_db", "psnr_over_bm3d_correlated_db"):
        assert rows[name]["value"] is None
        assert "not installed here" in rows[name]["note"]


def test_kept_scores_are_found_again(scoring: ModuleType, tmp_path: Path) -> None:
    folder = scoring.ScoreFolder(tmp_path)
    scores = scoring.Scores("recorrupt@0200", "correlated", "Note.", cases(30, 34))
    folder.keep(scores)
    assert folder.all() == {("recorrupt@0200", "correlated"): scores}
    assert folder.holds("recorrupt@0200", "correlated")
    folder.keep(scoring.Scores("bm3d_vst", "jpeg", "not here", ()))
    assert not folder.holds("bm3d_vst", "jpeg")


def test_tables_hold_what_was_scored(scoring: ModuleType, benchmark_module: Import) -> None:
    results = benchmark_module("results")
    kept = {
        (name, condition): scoring.Scores(name, condition, f"About {name}.", cases(*psnr))
        for condition in ("uncorrelated", "correlated")
        for name, psnr in {"recorrupt": (30, 34), "recorrupt@200": (29, 31), "input": (20, 22)}.items()
    }
    rows = [dict.fromkeys(results.KEYS) | row for row in scoring.rows_of(kept)]
    text = results.render(rows, [])
    assert "| | correlated | uncorrelated |" in text
    assert text.index("| recorrupt | 32.00 ± 2.00 |") < text.index("| input | 21.00 ± 1.00 |")
    assert "| recorrupt_correlated | 30.00 ± 1.00 |" in text
    assert "Measured besides" not in text
    assert text.count("About recorrupt.") == 1
