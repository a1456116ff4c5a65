"""Measure ways to denoise, all on the same pixels: the table that issue 3 asks for.

    python benchmarks/denoising.py [--data ../shared/data] [--peers ../peers] [--steps 1200] [--quick]

References are images held out from all training here, halved; noise is put on them at three levels, (a) from
pixel to pixel, (b) correlated with a sigma of 0.8 px, (c) the same, then JPEG of quality 85. What learns from
noisy images is trained here, on other images with the same noise, by the recipes' own command line. What
takes a noise model gets one estimated from the noisy images alone, unless its name says otherwise; the
classical methods are given the true one. Programs and scores are kept under --output: a run that was stopped
goes on there.
"""

import argparse
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

import denoising_jobs as jobs
import denoising_methods as methods
import torch
from denoising_data import (
    CONDITIONS,
    LEVELS,
    ROOT,
    Case,
    Condition,
    Reference,
    test_cases,
    test_references,
    training_files,
    write_training,
)
from denoising_model import clean_input_row, cost_rows
from denoising_score import Row, ScoreFolder, Scores, printed, rows_of, score
from denoising_works import Setting, Work, urgency, works
from results import record

from dae_pacs.errors import DaePacsError

MODELS = ROOT / "models"
CLEAN_INPUT_MODEL = "xray_radiograph_denoising"
QUICK_NETWORK = (
    "--architecture#channels=[8,16]",
    "--architecture#strides=[2]",
    "--patch_px=48",
    "--validation_px=48",
)
CLOCKED_EPOCH = 200
"""Steps between two validations of a training that the clock ends."""
QUICK_GROUPS = ("rg3_j2kr", "ct1_j2kr")


@dataclass(frozen=True)
class Test:
    """A condition's test images, and what was estimated of their noise."""

    condition: Condition
    cases: list[Case]
    blind: methods.Blind

    @property
    def shown(self) -> list[Case]:
        """Give the cases that are scored."""
        return [case for case in self.cases if case.reference.is_scored]


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark."""

    setting: Setting
    scores: ScoreFolder
    tests: dict[str, Test] = field(default_factory=dict)
    is_dry: bool = False

    def open_works(self, condition: Condition, cases: Sequence[Case]) -> list[Work]:
        """List those of a condition that have no scores yet."""
        return [
            work
            for work in works(condition, cases, self.setting)
            if not all(self.scores.holds(name, condition.name) for name in work.makes)
        ]

    def measure(self, todo: Sequence[Work], *, processes: int) -> None:
        """Run the programs, some side by side, and score what each gives as soon as it is there."""
        threads = self.setting.compute.threads
        with ThreadPoolExecutor(processes) as pool:
            running = {pool.submit(jobs.run, work.job, threads=threads): work for work in todo if work.job}
            for work in todo:
                if work.job is None:
                    self._take(work, None)
            for ended in as_completed(running):
                self._take(running[ended], ended)

    def _take(self, work: Work, ended: Future[jobs.Report] | None) -> None:
        """Score what a work gives; one that fails says so in its rows, and the others go on."""
        try:
            self._score(work, jobs.Report(0.0, "") if ended is None else ended.result())
        except (jobs.JobFailedError, DaePacsError, OSError) as problem:
            print(f"{work.condition.name:14s}{work.name:40s}{problem}", flush=True)
            for name in work.makes:
                self.scores.keep(Scores(name, work.condition.name, str(problem), ()))
        self.record()

    def _score(self, work: Work, report: jobs.Report) -> None:
        test = self.tests[work.condition.name]
        for name, note, planes in work.apply(report, test.blind):
            scored = [score(case, plane) for case, plane in zip(test.shown, planes, strict=True)]
            self.scores.keep(Scores(name, work.condition.name, note, tuple(scored)))
            print(f"{work.condition.name:14s}{name:40s}{printed(scored)}", flush=True)

    def record(self, more: Sequence[Row] = ()) -> None:
        """Write all rows that there are so far."""
        if not self.is_dry:
            record([*rows_of(self.scores.all()), *more])


def main() -> None:
    given = _options()
    torch.set_num_threads(given.threads)
    if given.fresh:
        shutil.rmtree(given.output, ignore_errors=True)
    conditions = [CONDITIONS[name] for name in given.conditions]
    levels = LEVELS[1:2] if given.quick else LEVELS
    references = test_references(given.data)
    groups = training_files(given.data)
    if given.quick:
        references = [one for one in references if one.group == "dental"]
        groups = {name: groups[name] for name in QUICK_GROUPS}
    write_training(groups, given.output / "images", conditions, levels)
    bench = Bench(_setting(given), ScoreFolder(given.output / "scores"), is_dry=given.dry)
    denoiser = methods.opened(given.models / CLEAN_INPUT_MODEL)
    todo: list[Work] = []
    for condition in conditions:
        cases = test_cases(references, condition, levels)
        wanted = [
            work for work in bench.open_works(condition, cases) if work.name in (given.methods or [work.name])
        ]
        if wanted:
            bench.tests[condition.name] = Test(condition, cases, methods.estimated(cases, denoiser))
        todo += wanted
    bench.measure(sorted(todo, key=urgency), processes=given.processes)
    more: list[Row] = []
    if not given.quick and (given.methods is None or "model" in given.methods):
        more = [
            clean_input_row(_held_out(references), denoiser),
            *cost_rows(given.models / CLEAN_INPUT_MODEL),
        ]
    bench.record(more)


def _held_out(references: Sequence[Reference]) -> list[Reference]:
    """Leave the dental images out: squashed and compressed, they are not as free of noise."""
    return [one for one in references if one.is_scored and one.group != "dental"]


def _setting(given: argparse.Namespace) -> Setting:
    compute = jobs.Compute(
        steps=given.steps,
        minutes=given.minutes,
        bundle=given.models / CLEAN_INPUT_MODEL,
        patches=given.patches,
        learning_rate=given.learning_rate,
        threads=given.threads,
        workers=given.workers,
        curve_every=max(1, given.steps // 8) if given.minutes is None else CLOCKED_EPOCH,
        more=QUICK_NETWORK if given.quick else (),
    )
    bundles = tuple(sorted(path.parent for path in given.models.glob("*/manifest.json")))
    return Setting(given.output, given.peers, bundles, compute, given.other_steps, given.peer_steps)


def _options() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options.add_argument(
        "--peers", type=Path, default=ROOT.parent / "peers", help="benchmarks/peers/set-up.sh"
    )
    options.add_argument("--output", type=Path, default=ROOT / "out" / "denoising")
    options.add_argument("--models", type=Path, default=MODELS, help="the shipped ones are measured as well")
    options.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=list(CONDITIONS))
    options.add_argument(
        "--methods", nargs="+", help="only these, and the rows that the scores kept so far give; default all"
    )
    options.add_argument("--steps", type=int, default=1200, help="of recorrupt and its twin")
    options.add_argument("--minutes", type=float, help="of each training, should that end before its steps")
    options.add_argument("--patches", type=int, default=jobs.FEW_PATCHES, help="of a step; 128 fill a GPU")
    options.add_argument("--learning-rate", type=float, default=jobs.LEARNING_RATE)
    options.add_argument("--workers", type=int, default=0, help="of each training; 3 keep a GPU busy")
    options.add_argument(
        "--other-steps", type=int, default=800, help="of the other trainings, and under JPEG"
    )
    options.add_argument("--peer-steps", type=int, default=1000, help="of CAREamics, of twice the time each")
    options.add_argument("--processes", type=int, default=2, help="trainings side by side")
    options.add_argument("--threads", type=int, default=1, help="of each training")
    options.add_argument("--quick", action="store_true", help="a tiny network, two images: does it run?")
    options.add_argument("--fresh", action="store_true", help="throw away what earlier runs left")
    options.add_argument("--dry", action="store_true", help="leave results.json alone")
    given = options.parse_args()
    if given.quick:
        given.steps, given.other_steps = min(given.steps, 16), min(given.other_steps, 16)
        given.output = given.output.with_name(f"{given.output.name}-quick")
    return given


if __name__ == "__main__":
    main()
