"""`dae-pacs plan`, as Typer sees it; what it does is imported when it runs."""

# ruff: noqa: PLC0415

from typing import Annotated

import typer

from dae_pacs.cli.parameters import Config, Model


def plan(  # noqa: PLR0913  # a command's options are its parameters
    *,
    per_hour: Annotated[
        float, typer.Option(metavar="STUDIES", help="Studies an hour, as an average of the whole week.")
    ] = 10.0,
    mix: Annotated[
        str,
        typer.Option(metavar="SHARES", help="Their kinds and shares: ct, dx, panoramic, intraoral, cbct."),
    ] = "ct=1,dx=1",
    kind: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=IMAGESxMEGAPIXELS", help="A kind of your own, or a known one otherwise; repeatable."
        ),
    ] = None,
    on: Annotated[str, typer.Option("--on", metavar="MACHINE", help="Whose constants: cpu or h100.")] = "cpu",
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Measure this machine, its model and the spool's disk (a minute)."),
    ] = False,
    peak: Annotated[float, typer.Option(min=1, help="The busiest hour over the average hour.")] = 3.0,
    keep_hours: Annotated[float, typer.Option(min=0, help="As retention.keep_hours.")] = 168.0,
    outputs: Annotated[int, typer.Option(min=1, help="Derived series made of each series.")] = 1,
    destinations: Annotated[int, typer.Option(min=1, help="Archives that get each of them.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers that there are; without it, as many as are needed.")
    ] = None,
    archive: Annotated[
        float | None,
        typer.Option(min=1, metavar="INSTANCES", help="Also: an archive of so many images, processed once."),
    ] = None,
    days: Annotated[
        float | None, typer.Option(min=0.01, help="Within how many days the archive must be done.")
    ] = None,
    model: Model = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")] = False,
) -> None:
    """Say how much hardware a workload needs, where its bottleneck is, and what a study waits."""
    from dae_pacs.cli.plan import PlanOptions, run

    options = PlanOptions(
        per_hour=per_hour,
        mix=mix,
        kinds=kind or (),
        machine=on,
        peak=peak,
        keep_hours=keep_hours,
        outputs=outputs,
        destinations=destinations,
        workers=workers,
        archive=archive,
        days=days,
        measure=measure,
        model=model,
        config=config,
        as_json=as_json,
    )
    raise typer.Exit(run(options))
