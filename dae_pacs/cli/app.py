"""The command line: every command with its options; what a command needs is imported when it runs.

`dae-pacs --help` must cost less than 0.3 s (benchmarks/ measures it), so this module imports Typer alone.
"""

# Imports inside the commands are what keeps the help fast.
# ruff: noqa: PLC0415

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dae_pacs.cli.accounts_app import accounts_app
from dae_pacs.cli.config_app import config_app
from dae_pacs.cli.failures import FAILED, INTERRUPTED, explain_crashes, say_error
from dae_pacs.cli.fetch_app import fetch
from dae_pacs.cli.models import models_app
from dae_pacs.cli.options import DenoiseOptions, Device, Loss
from dae_pacs.cli.parameters import Config, Model, Objects, PeerName, Study
from dae_pacs.cli.plan_app import plan
from dae_pacs.cli.rules_app import rules_app
from dae_pacs.cli.spool_app import spool_app
from dae_pacs.cli.tls_app import tls_app
from dae_pacs.errors import DaePacsError

app = typer.Typer(
    name="dae-pacs",
    help="A denoising node beside a PACS: studies come in, a denoised series goes back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(fetch)
app.add_typer(config_app, name="config")
app.add_typer(rules_app, name="rules")
app.add_typer(models_app, name="models")
app.add_typer(tls_app, name="tls")
app.add_typer(spool_app, name="spool")
app.command()(plan)
app.add_typer(accounts_app, name="accounts")


@app.callback(invoke_without_command=True)
def every_command(
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Log everything; show where an unexpected error came from."),
    ] = False,
) -> None:
    """Set up what all commands share."""
    if version:
        from dae_pacs import __version__

        typer.echo(f"dae-pacs {__version__}")
        raise typer.Exit
    import os

    from dae_pacs import log

    explain_crashes(verbose=verbose)
    if verbose:  # every command reads its settings after this, and so does every process that it starts
        os.environ["DAE_PACS_LOG__LEVEL"] = "DEBUG"
    log.configure(verbose=verbose)


@app.command()
def serve(
    *,
    config: Config = None,
    model: Model = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port to listen on.")] = None,
) -> None:
    """Run the node: receive studies, denoise them, deliver the derived series."""
    from dae_pacs.cli.serve import run

    raise typer.Exit(run(config=config, model=model, port=port))


@app.command()
def denoise(  # noqa: PLR0913  # a command's options are its parameters
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT", help="DICOM, JPEG, PNG or TIFF files, or folders of them.", show_default=False
        ),
    ],
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder that gets the results.", show_default=False
        ),
    ],
    model: Model = None,
    strength: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="From 0 (remove nothing) to 1; else the bundle's own."),
    ] = None,
    device: Annotated[
        Device | None,
        typer.Option(metavar="auto|cpu|cuda", help="Where to compute; auto takes a GPU if there is one."),
    ] = None,
    side_by_side: Annotated[
        bool,
        typer.Option("--side-by-side", help="Write pictures of before, after and what was removed, too."),
    ] = False,
    config: Config = None,
) -> None:
    """Denoise files without a network: derived DICOM for DICOM, an image of its own format for an image."""
    from dae_pacs.cli.denoise import run

    options = DenoiseOptions(
        output=output,
        model=model,
        strength=strength,
        device=device.value if device else None,
        side_by_side=side_by_side,
        config=config,
    )
    raise typer.Exit(run(inputs, options=options))


@app.command()
def train(  # noqa: PLR0913  # a command's options are its parameters
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="A folder of JPEG, PNG, TIFF or DICOM images.", show_default=False
        ),
    ],
    *,
    recipe: Annotated[
        str, typer.Option(metavar="NAME", help="How to learn: a file of training/recipes.")
    ] = "recorrupt",
    name: Annotated[str, typer.Option(metavar="NAME", help="The bundle's name.")] = "site_denoising",
    minutes: Annotated[
        float | None, typer.Option(min=0.01, metavar="M", help="End after so many minutes of training.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="End after so many steps; else the recipe's own.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder of the run; runs/NAME.", show_default=False
        ),
    ] = None,
    bundle: Annotated[
        str | None,
        typer.Option("--from", metavar="BUNDLE", help="Fine-tune this bundle, instead of starting anew."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Clean images of the same names, for the recipe supervised."),
    ] = None,
    loss: Annotated[
        Loss | None,
        typer.Option(metavar="mse|ssim|both", help="What to make small; else the recipe's own."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace an earlier run, and an earlier bundle of that name.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Put pictures into the model card; they may show patients.")
    ] = False,
    device: Annotated[
        str, typer.Option(metavar="auto|cpu|cuda|cuda:N", help="auto takes a GPU if there is one.")
    ] = "auto",
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="Of all that is drawn.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another entry of the recipe; may be repeated."),
    ] = None,
    config: Config = None,
) -> None:
    """Learn to denoise a site's own images, without clean ones, and leave a bundle that the node takes."""
    from dae_pacs.cli.train import TrainOptions, run

    options = TrainOptions(
        recipe=recipe,
        name=name,
        minutes=minutes,
        steps=steps,
        output=output,
        bundle=bundle,
        reference=reference,
        loss=loss.value if loss else None,
        is_resumed=resume,
        replace=replace,
        with_pictures=pictures,
        device=device,
        seed=seed,
        settings=settings or (),
        config=config,
    )
    raise typer.Exit(run(data, options=options))


@app.command()
def evaluate(  # noqa: PLR0913  # a command's options are its parameters
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A bundle's name, or the path of its folder.", show_default=False
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="An image, or a folder of them, searched with its folders.",
            show_default=False,
        ),
    ],
    *,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="DIR", help="Clean images of the same names, if there are any."),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder that gets evaluation.html and evaluation.json."
        ),
    ] = Path("evaluation"),
    strength: Annotated[
        float | None,
        typer.Option(min=0.05, max=1.0, help="From 0.05 to 1; else the bundle's own."),
    ] = None,
    device: Annotated[
        Device | None,
        typer.Option(metavar="auto|cpu|cuda", help="Where to compute; auto takes a GPU if there is one."),
    ] = None,
    most: Annotated[
        int,
        typer.Option("--most", min=1, metavar="N", help="Judge at most so many images, drawn evenly."),
    ] = 20,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="End with 1 if a verdict is bad or a file can't be read."),
    ] = False,
    config: Config = None,
) -> None:
    """Say what a model removes from these images and what is lost: a page with pictures, curves, verdicts."""
    from dae_pacs.cli.evaluate import EvaluateOptions, run

    options = EvaluateOptions(
        output=output,
        reference=reference,
        strength=strength,
        device=device.value if device else None,
        most=most,
        is_strict=strict,
        config=config,
    )
    raise typer.Exit(run(model, data, options=options))


@app.command()
def demo(
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The folder that gets the picture and the report."
        ),
    ] = Path("dae-pacs-demo"),
) -> None:
    """Show the main job on this machine: a study into a PACS, a denoised series back."""
    from dae_pacs.demo.story import run

    raise typer.Exit(run(output=output))


@app.command()
def send(peer: PeerName, files: Objects, *, config: Config = None) -> None:
    """Send DICOM files to a peer (C-STORE)."""
    from dae_pacs.cli.send import run

    raise typer.Exit(run(peer, files, config=config))


@app.command()
def echo(
    peer: Annotated[
        str | None,
        typer.Argument(
            metavar="[PEER]",
            help="A peer's name in the configuration, or AE@host:port; without it, this node itself.",
            show_default=False,
        ),
    ] = None,
    *,
    config: Config = None,
) -> None:
    """Ask a peer, or this node, whether it is there (C-ECHO)."""
    from dae_pacs.cli.echo import run

    raise typer.Exit(run(peer, config=config))


@app.command()
def health(*, config: Config = None) -> None:
    """Say whether the node receives, computes and delivers; ends with 1 where one of these is down."""
    from dae_pacs.cli.health import run

    raise typer.Exit(run(config=config))


@app.command()
def status(
    *,
    config: Config = None,
    study: Study = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many studies and jobs.")] = 50,
) -> None:
    """Say where each study stands: received, denoised, delivered, and what failed."""
    from dae_pacs.cli.status import run

    raise typer.Exit(run(config=config, study=study, as_json=as_json, limit=limit))


@app.command()
def retry(*, config: Config = None, study: Study = None) -> None:
    """Requeue failed jobs and given-up deliveries."""
    from dae_pacs.cli.retry import run

    raise typer.Exit(run(config=config, study=study))


@app.command()
def drop(
    destination: Annotated[
        str,
        typer.Argument(metavar="PEER", help="A destination's name in dae-pacs status.", show_default=False),
    ],
    *,
    config: Config = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what would be done.")] = False,
) -> None:
    """Owe a destination nothing more: what was given up, or all if it is no peer any more."""
    from dae_pacs.cli.drop import run

    raise typer.Exit(run(destination, config=config, is_sure=yes))


@app.command()
def validate(
    files: Objects,
    *,
    source: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The original, or a folder with it; else it is looked for beside the derived object "
            "and in the node's spool.",
        ),
    ] = None,
    config: Config = None,
) -> None:
    """Hold derived objects against their originals: say what differs, and whether it may."""
    from dae_pacs.cli.validate import run

    raise typer.Exit(run(files, source=source, config=config))


def main() -> NoReturn:
    """Run the command line; every error of ours becomes words on standard error and exit code 1."""
    explain_crashes(verbose=False)
    try:
        app(prog_name="dae-pacs")
    except DaePacsError as error:
        say_error(str(error))
        sys.exit(FAILED)
    except OSError as error:
        subject = f"{error.filename}: " if error.filename else ""
        advice = "Check that it exists, may be used, and that its disk has room."
        say_error(f"{subject}{error.strerror or error}. {advice}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(0)
