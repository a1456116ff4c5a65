"""What `benchmarks/denoising.py` runs: each method's program, and how its result meets the test images."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import denoising_jobs as jobs
import denoising_methods as methods
from denoising_data import Case, Condition, Plane, stored_planes
from denoising_jobs import Compute, Job, Report

AUTOENCODER_STEPS = (50, 400, 1000)
AUTOENCODER_EPOCHS = 100
STEPS_PER_EPOCH = 9
"""Of the autoencoder: 84 images, a fifth held out, in batches of 8."""
FINETUNING_STEPS = 400
CAREAMICS = {"noise2void_careamics": (), "noise2void2_careamics": ("--n2v2",)}
"""Its options, by method."""
CURVED = ("recorrupt", "supervised")
PRIORITY = (
    *((method, condition) for method in CURVED for condition in ("correlated", "uncorrelated")),
    *(("noise2void_careamics", condition) for condition in ("correlated", "uncorrelated")),
    ("neighbor2neighbor", "correlated"),
    ("bm3d_vst", "correlated"),
    ("bm3d_vst", "uncorrelated"),
    ("noise2void", "correlated"),
    *(("recorrupt_true_noise", condition) for condition in ("correlated", "uncorrelated")),
    *(("recorrupt_finetuned", condition) for condition in ("correlated", "uncorrelated")),
    ("autoencoder", "uncorrelated"),
)
"""What comes first: the promised rows, should the time not do for all."""

DEVICE = "device"
"""A file beside a training's bundle that names where it ran, if that was not here."""

Result = tuple[str, str, Sequence[Plane]]
"""Method, note, one plane per case."""


@dataclass(frozen=True)
class Work:
    """Methods of one condition that come out of one program, or need none."""

    name: str
    condition: Condition
    job: Job | None
    apply: Callable[[Report, methods.Blind], Iterator[Result]]
    makes: tuple[str, ...]
    """Methods that it surely gives, if it gives any."""


@dataclass(frozen=True)
class Setting:
    """What the works of all conditions have in common."""

    output: Path
    peers: Path
    bundles: tuple[Path, ...]
    """Shipped ones; all of them hold these test images out."""
    compute: Compute
    other_steps: int
    """Of trainings that no promise of a twin hangs on."""
    peer_steps: int
    """Of CAREamics; each takes about twice as long as ours."""

    def of(self, method: str, condition: Condition) -> Compute:
        """Give a training its steps."""
        is_first = method.startswith(CURVED) and condition.jpeg_quality is None
        steps = self.compute.steps if is_first else self.other_steps
        if jobs.TRAININGS[method].from_shipped:
            steps = min(FINETUNING_STEPS, steps)
        return replace(self.compute, steps=steps)


def works(condition: Condition, cases: Sequence[Case], setting: Setting) -> list[Work]:
    """List all works of a condition."""
    shown = [case for case in cases if case.reference.is_scored]
    made = [_classical(name, condition, shown) for name in methods.CLASSICAL]
    made += [_shipped(condition, shown, bundle) for bundle in setting.bundles]
    made.append(_bm3d(condition, shown, setting))
    made += [_careamics(name, condition, shown, setting) for name in CAREAMICS]
    made += [_training(name, condition, shown, setting) for name in jobs.TRAININGS]
    made.append(_autoencoder(condition, shown, setting))
    return made


def urgency(work: Work) -> int:
    """Sort works: those of `PRIORITY` first."""
    key = (work.name, work.condition.name)
    return PRIORITY.index(key) if key in PRIORITY else len(PRIORITY)


def _classical(name: str, condition: Condition, cases: Sequence[Case]) -> Work:
    def apply(_: Report, __: methods.Blind) -> Iterator[Result]:
        yield name, CLASSICAL_NOTES[name], [methods.CLASSICAL[name](case) for case in cases]

    return Work(name, condition, None, apply, (name,))


def _shipped(condition: Condition, cases: Sequence[Case], bundle: Path) -> Work:
    name = f"shipped_{bundle.name}"

    def apply(_: Report, blind: methods.Blind) -> Iterator[Result]:
        denoiser = methods.opened(bundle)
        identity = denoiser.identity
        what = f"models/{bundle.name} {identity.version}, trained on other noise"
        default = identity.default_strength
        yield name, f"{what}; strength 1.", methods.Bundled(denoiser)(cases, blind)
        yield (
            f"{name}_default_strength",
            f"{what}; its default strength, {default:g}, which leaves part of the noise on purpose.",
            methods.Bundled(denoiser, strength=default)(cases, blind),
        )
        yield (
            f"{name}_true_noise",
            f"{what}; strength 1, true noise model given.",
            methods.Bundled(denoiser, is_blind=False)(cases, blind),
        )

    return Work(name, condition, None, apply, (name, f"{name}_default_strength", f"{name}_true_noise"))


def _bm3d(condition: Condition, cases: Sequence[Case], setting: Setting) -> Work:
    def apply(report: Report, _: methods.Blind) -> Iterator[Result]:
        note = f"{report.last_line}; on the stabilised image, true noise model and spectrum given."
        yield "bm3d_vst", note, methods.take_bm3d(cases, job.folder)

    job = Job(
        setting.output / "runs" / f"bm3d-{condition.name}",
        (str(setting.peers / "bm3d" / "bin" / "python"), str(jobs.PEERS / "bm3d_peer.py"), "{run}"),
        partial(methods.give_bm3d, cases),
    )
    return Work("bm3d_vst", condition, job, apply, ("bm3d_vst",))


def _careamics(name: str, condition: Condition, cases: Sequence[Case], setting: Setting) -> Work:
    steps = setting.peer_steps

    def prepare(folder: Path) -> None:
        noisy = setting.output / "images" / condition.name / "noisy"
        methods.give_planes(stored_planes(noisy, condition.stored()), folder / "training")
        methods.give_planes({case.name: case.noisy for case in cases}, folder / "test")

    def apply(report: Report, _: methods.Blind) -> Iterator[Result]:
        planes = methods.taken_planes(cases, job.folder / "output")
        yield name, report.last_line, planes

    folders = tuple(f"{{run}}/{name}" for name in ("training", "test", "output"))
    job = Job(
        setting.output / "runs" / f"{name}-{condition.name}-{steps}",
        (
            str(setting.peers / "careamics" / "bin" / "python"),
            str(jobs.PEERS / "careamics_peer.py"),
            *folders,
            f"--steps={steps}",
            f"--threads={setting.compute.threads}",
            *CAREAMICS[name],
        ),
        prepare,
    )
    return Work(name, condition, job, apply, (name,))


def _training(name: str, condition: Condition, cases: Sequence[Case], setting: Setting) -> Work:
    compute = setting.of(name, condition)
    job = jobs.training_job(name, condition, setting.output, compute)
    bundle = job.folder / "run" / "bundle"
    is_blind = not jobs.TRAININGS[name].told_noise

    def apply(_: Report, blind: methods.Blind) -> Iterator[Result]:
        note = TRAINING_NOTES[name] + _length(name, compute, job.folder / "run")
        yield name, note, methods.Bundled(methods.opened(bundle), is_blind=is_blind)(cases, blind)
        if name in CURVED and condition.jpeg_quality is None:
            for steps, checkpoint in _checkpoints(job.folder / "run" / "curve"):
                denoiser = methods.opened_at(bundle, checkpoint)
                on_the_way = f"Averaged weights after so many of {compute.steps} steps."
                yield f"{name}@{steps}", on_the_way, methods.Bundled(denoiser)(cases, blind)

    return Work(name, condition, job, apply, (name,))


def _autoencoder(condition: Condition, cases: Sequence[Case], setting: Setting) -> Work:
    steps = min(max(AUTOENCODER_STEPS), setting.compute.steps)
    epochs = -(-steps // STEPS_PER_EPOCH)
    job = jobs.autoencoder_job(condition, setting.output, setting.compute, epochs=(epochs, STEPS_PER_EPOCH))
    wanted = {f"autoencoder_{n}_steps": n for n in AUTOENCODER_STEPS if n <= steps}
    wanted["autoencoder_100_epochs"] = AUTOENCODER_EPOCHS * STEPS_PER_EPOCH

    def apply(report: Report, _: methods.Blind) -> Iterator[Result]:
        kept = dict(_checkpoints(job.folder / "run"))
        for name, n in wanted.items():
            if n in kept:
                network = methods.autoencoder(jobs.RECIPES / "autoencoder.yaml", kept[n])
                note = f"The seed's recipe, trained on the noisy images themselves, after {n} steps."
                yield name, note, methods.passed_through(network, cases)

    return Work("autoencoder", condition, job, apply, tuple(wanted))


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Find what MONAI's CheckpointSaver left of one object, by steps: the bare weights."""
    found = ((int(path.stem.rpartition("=")[2]), path) for path in folder.glob("*_iteration=*.pt"))
    return sorted(found)


def _length(name: str, compute: Compute, run: Path) -> str:
    """Say how long a training was, and on what."""
    loss = (
        f"LogSquaredError at a learning rate of {compute.learning_rate:g}"
        if jobs.TRAININGS[name].loss
        else "the recipe's loss"
    )
    steps = max(json.loads(line)["step"] for line in (run / "scores.jsonl").read_text().splitlines())
    where = (run / DEVICE).read_text() if (run / DEVICE).is_file() else "this CPU, bfloat16"
    return f" {steps} steps of {compute.patches} patches, {loss}, on {where}, beside other trainings."


CLASSICAL_NOTES: Mapping[str, str] = {
    "input": "The identity.",
    "best_blur": "Gaussian; its sigma chosen per image with the reference in hand.",
    "nlm_vst": "Non-local means on the stabilised image; true noise model given, strength chosen per image "
    "with the reference in hand.",
    "wavelet_vst": "BayesShrink (db4) on the stabilised image; true noise model given.",
}
TRAINING_NOTES: Mapping[str, str] = {
    "recorrupt": "Recipe recorrupt: noise estimated blindly, for training and testing.",
    "recorrupt_true_noise": "Recipe recorrupt, told the true noise model and spectrum.",
    "recorrupt_finetuned": "Recipe recorrupt with finetune, from the shipped xray_radiograph_denoising, "
    "which was trained on clean references of the same training images; noise estimated blindly.",
    "supervised": "Recipe supervised: the twin, the same network on the same noisy images with their clean "
    "ones; noise estimated blindly.",
    "neighbor2neighbor": "Recipe neighbor2neighbor.",
    "noise2void": "Recipe noise2void.",
}
