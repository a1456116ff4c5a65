"""`dae-pacs denoise`: the node's pipeline without a network, for files and folders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.cli.options import DenoiseOptions
from dae_pacs.cli.pictures import compare_images, compare_objects
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import InputError
from dae_pacs.image.derive import derived_series_number
from dae_pacs.image.files import file_digest
from dae_pacs.image.series import Scan, SeriesFiles, scan
from dae_pacs.node.events import Derived, Event, Rejected, SeriesTask, Source
from dae_pacs.node.pipeline import denoise_series
from dae_pacs.node.rasters import RasterResult, acquisition_groups, denoise_rasters
from dae_pacs.resources import find_bundle

DESCRIPTION = "{source} denoised s={strength:.1f}"


@dataclass
class Account:
    """What became of every input."""

    written: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    passed_over: list[tuple[Path, str]] = field(default_factory=list)


def run(inputs: list[Path], *, options: DenoiseOptions, root: Path | None = None) -> int:
    """Denoise what is named; 0 when everything that could be denoised was.

    Args:
        inputs: files and folders.
        options: how, and where to.
        root: a folder above the inputs: results lie below the output folder as the inputs do below it. None
            takes each named folder for its own root.

    Raises:
        BundleError: the model is missing or broken.
        ConfigError: the configuration has mistakes.
        InputError: there is nothing to denoise, or the output would overwrite an input.
    """
    settings = load(options.config)
    found = scan(inputs)
    account = Account(failed=list(found.unreadable), passed_over=list(found.passed_over))
    if found.series or found.rasters:
        targets = _targets(found, [root] if root else inputs, options.output)
        for folder in {target.parent for target in targets.values()}:
            folder.mkdir(parents=True, exist_ok=True)
        _denoise_all(found, settings, options, account, targets=targets)
    elif not account.failed:
        raise InputError(
            f"nothing to denoise in {', '.join(map(str, inputs))}: "
            f"{len(account.passed_over)} files were passed over. "
            "Name DICOM, JPEG, PNG, TIFF, NIfTI, MetaImage or NRRD files, or folders that hold some."
        )
    _summarise(account, options.output)
    return FAILED if account.failed or not account.written else OK


def denoise_folder(
    bundle: str, *, folder: str, output: str, device: str = "auto", strength: float | None = None
) -> int:
    """Do the same for MONAI's command line: what a bundle's `configs/inference.yaml` names.

    Args:
        bundle: its folder.
        folder: of images, searched with its sub-folders.
        output: made if missing.
        device: auto, cpu, cuda or cuda:N.
        strength: 0..1, or None for the bundle's own default.
    """
    options = DenoiseOptions(
        output=Path(output), model=str(Path(bundle).resolve()), device=device, strength=strength
    )
    return run([Path(folder)], options=options)


def denoise_files(bundle: str, *, files: Sequence[str], root: str, output: str, device: str = "auto") -> int:
    """Denoise some files of a folder and draw what was removed: how a recipe ends, on the images it held out.

    Args:
        bundle: its folder.
        files: to denoise.
        root: the folder that they lie in, at any depth.
        output: made if missing.
        device: auto, cpu, cuda or cuda:N.
    """
    options = DenoiseOptions(
        output=Path(output), model=str(Path(bundle).resolve()), device=device, side_by_side=True
    )
    return run([Path(file) for file in files], options=options, root=Path(root))


def _denoise_all(
    found: Scan, settings: Settings, options: DenoiseOptions, account: Account, *, targets: dict[Path, Path]
) -> None:
    strength = options.strength if options.strength is not None else settings.model.strength
    total = sum(len(series.paths) for series in found.series) + len(found.rasters)
    with _progress() as progress:
        bar = progress.add_task("loading the model", total=total)
        denoiser = _open(settings, options)
        progress.update(bar, description="denoising")
        for task in _tasks(found.series, settings, strength):
            denoise_series(
                task,
                denoiser,
                _recorder(task, account, options, lambda: progress.advance(bar)),
                name_file=lambda source, _derived: targets[source.path],
            )
        for paths in acquisition_groups(found.rasters):
            denoise_rasters(
                paths,
                denoiser,
                _raster_recorder(account, options, lambda: progress.advance(bar)),
                strength=strength,
                name_file=targets.__getitem__,
            )


def _open(settings: Settings, options: DenoiseOptions) -> Denoiser:
    folder = find_bundle(options.model or settings.model.name, settings.model.folder)
    from dae_pacs.denoise.engine import open_denoiser  # noqa: PLC0415  torch: after all else was checked

    return open_denoiser(folder, device=options.device or settings.model.device)


def _tasks(series: Sequence[SeriesFiles], settings: Settings, strength: float | None) -> Iterator[SeriesTask]:
    taken: dict[str, set[int]] = {}
    for one in series:
        taken.setdefault(one.StudyInstanceUID, set()).update([one.SeriesNumber or 0])
    for job_id, one in enumerate(series):
        number = derived_series_number(one.SeriesNumber, taken[one.StudyInstanceUID])
        taken[one.StudyInstanceUID].add(number)
        yield SeriesTask(
            job_id=job_id,
            sources=tuple(Source(k, path, file_digest(path)) for k, path in enumerate(one.paths)),
            model=settings.model.name,
            strength=strength,
            description=DESCRIPTION,
            series_number=number,
            ae_title=settings.node.ae_title,
        )


def _recorder(
    task: SeriesTask, account: Account, options: DenoiseOptions, advance: Callable[[], None]
) -> Callable[[Event], None]:
    def record(event: Event) -> None:
        if isinstance(event, Rejected):
            account.failed.append((task.sources[event.instance_id].path, event.reason))
            advance()
        elif isinstance(event, Derived):
            account.written.append(event.path)
            if options.side_by_side:
                compare_objects(task.sources[event.instance_id].path, event.path)
            advance()

    return record


def _raster_recorder(
    account: Account, options: DenoiseOptions, advance: Callable[[], None]
) -> Callable[[RasterResult], None]:
    def record(result: RasterResult) -> None:
        if result.target is None:
            account.failed.append((result.source, result.reason or "it can't be read"))
        else:
            account.written.append(result.target)
            if options.side_by_side:
                compare_images(result.source, result.target)
        advance()

    return record


def _targets(found: Scan, inputs: Sequence[Path], output: Path) -> dict[Path, Path]:
    """Give each input its place below the output folder, as it stood below the folder that was named.

    Raises:
        InputError: a result would overwrite an input, or another result.
    """
    roots = [path.resolve() for path in inputs if path.is_dir()]
    sources = [path for series in found.series for path in series.paths] + list(found.rasters)
    owners: dict[Path, Path] = {}
    for source in sources:
        full = source.resolve()
        root = next((root for root in roots if full.is_relative_to(root)), full.parent)
        target = output / full.relative_to(root)
        if target.resolve() == full:
            raise InputError(f"{source}: the result would overwrite it; choose another --output folder")
        if target in owners:
            raise InputError(
                f"{source} and {owners[target]} would both be written to {target}; "
                "denoise them into two folders"
            )
        owners[target] = source
    return {source: target for target, source in owners.items()}


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def _summarise(account: Account, output: Path) -> None:
    for path, reason in account.failed:
        say_error(f"{path}: {reason}")
    console = Console(soft_wrap=True, highlight=False)
    for path, reason in account.passed_over:
        console.print(f"passed over {path}: {reason}", markup=False)
    table = Table("denoised", "failed", "passed over", "output")
    table.add_row(
        str(len(account.written)), str(len(account.failed)), str(len(account.passed_over)), str(output)
    )
    console.print(table)
