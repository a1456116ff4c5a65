import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Import = Callable[[str], ModuleType]


@pytest.fixture
def jobs(benchmark_module: Import) -> ModuleType:
    return benchmark_module("denoising_jobs")


def test_program_runs_once(jobs: ModuleType, tmp_path: Path) -> None:
    program = "from pathlib import Path; import sys; Path(sys.argv[1], 'made').touch(); print('peer 1.0')"
    job = jobs.Job(tmp_path / "job", (sys.executable, "-c", program, "{run}"))
    assert jobs.run(job, threads=1).last_line == "peer 1.0"
    (tmp_path / "job" / "made").unlink()
    assert jobs.run(job, threads=1).last_line == "peer 1.0"
    assert not (tmp_path / "job" / "made").exists()


def test_program_that_fails_is_quoted_and_tried_again(jobs: ModuleType, tmp_path: Path) -> None:
    job = jobs.Job(tmp_path / "job", (sys.executable, "-c", "raise SystemExit('no room left')"))
    for _ in range(2):
        with pytest.raises(jobs.JobFailedError, match="ended with 1: no room left"):
            jobs.run(job, threads=1)


def test_missing_peer_names_its_set_up(jobs: ModuleType, tmp_path: Path) -> None:
    job = jobs.Job(tmp_path / "job", (str(tmp_path / "bm3d" / "bin" / "python"), "peer.py"))
    with pytest.raises(jobs.JobFailedError, match=r"set-up\.sh"):
        jobs.run(job, threads=1)


def test_twins_see_as_many_patches_a_step(jobs: ModuleType, benchmark_module: Import, tmp_path: Path) -> None:
    correlated = benchmark_module("denoising_data").CONDITIONS["correlated"]
    commands = {
        name: jobs.training_job(name, correlated, tmp_path, jobs.Compute(100)).command
        for name in jobs.TRAININGS
    }
    patches = {name: command[command.index("--patches_per_image") + 1] for name, command in commands.items()}
    # Two images a step; recorruption makes two of each patch.
    assert patches["recorrupt"] == "2"
    assert patches["supervised"] == "4"
    assert "--reference_dir" in commands["supervised"]
    assert "--data" in commands["recorrupt_true_noise"]
