import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dae_pacs.learn.data import Data, Item

ROOT = Path(__file__).resolve().parents[2]
SHARED_DATA = ROOT.parent / "shared" / "data"
Import = Callable[[str], ModuleType]


@pytest.mark.parametrize("shape", [(8, 10), (7, 9)])
def test_spectrum_for_the_peer_is_that_of_the_whole_plane(
    benchmark_module: Import, shape: tuple[int, int]
) -> None:
    methods = benchmark_module("denoising_methods")
    image = np.random.default_rng(1).normal(size=shape)
    whole = methods.whole_plane(np.abs(np.fft.rfft2(image)) ** 2, shape[1])
    assert np.allclose(whole, np.abs(np.fft.fft2(image)) ** 2)


def test_recipe_is_told_the_noise_of_each_image_s_own_folder(
    benchmark_module: Import, tmp_path: Path
) -> None:
    items: list[Item] = []
    for name in ("near", "far"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "noise.json").write_text(f"the noise of {name}")
        items.append({"image": f"/elsewhere/{name}/image.png", "frame": 0})
    told = benchmark_module("denoising_true").told
    data = told(Data(tuple(items[:1]), tuple(items[1:]), ()), folder=str(tmp_path))
    assert [item["noise"] for item in (*data.training, *data.validation)] == [
        "the noise of near",
        "the noise of far",
    ]


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="../shared/data is not here")
def test_quick_run_trains_scores_and_keeps_results_as_they_were(tmp_path: Path) -> None:
    results = ROOT / "benchmarks" / "results.json"
    before = results.read_bytes()
    command = [
        sys.executable,
        "benchmarks/denoising.py",
        "--quick",
        "--dry",
        "--output",
        str(tmp_path / "out"),
    ]
    wanted = ["--conditions", "correlated", "--methods", "input", "recorrupt", "bm3d_vst"]
    ended = subprocess.run(
        [*command, *wanted, "--peers", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = {line.split()[1]: line for line in ended.stdout.splitlines() if line.startswith("correlated")}
    assert set(lines) >= {"input", "recorrupt", "bm3d_vst"}
    assert "psnr" in lines["recorrupt"], lines["recorrupt"]
    assert "set-up.sh" in lines["bm3d_vst"]
    assert results.read_bytes() == before
