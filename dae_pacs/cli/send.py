"""`dae-pacs send`: send DICOM files to a peer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dae_pacs.audit import events
from dae_pacs.audit.trail import open_trail
from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.cli.objects import files_of
from dae_pacs.cli.peers import resolve, shown
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.dimse import scu
from dae_pacs.errors import InputError
from dae_pacs.image.header import Summary, read_header, summarise
from dae_pacs.node.auditing import UNSENT, Auditor, failure_of


def run(peer: str, paths: Sequence[Path], *, config: Path | None) -> int:
    """Send every file in one association, name what failed, and sum up.

    Raises:
        ConfigError: settings are wrong.
        PeerError: the peer is unknown, can't be reached, or refuses the association.
    """
    settings = load(config)
    address = resolve(peer, settings)
    outgoing, summaries, problems = _prepared(paths)
    results: list[scu.SendResult] = []
    console = Console(soft_wrap=True, highlight=False)
    if outgoing:
        with _audited(settings, address, summaries) as tell_audit:
            calling_ae = settings.node.ae_title
            results = _send(address, outgoing, calling_ae=calling_ae, tell_audit=tell_audit)
    for words in [*problems, *(_words(result) for result in results if not _is_sent(result))]:
        say_error(words)
    for result in results:
        if result.outcome is scu.Outcome.WARNING:
            console.print(f"Warning: {_words(result)}", markup=False)
    sent = sum(map(_is_sent, results))
    failed = len(problems) + len(outgoing) - sent
    console.print(f"{shown(peer, address)}: {sent} sent, {failed} failed.", markup=False)
    return FAILED if failed else OK


def _prepared(
    paths: Sequence[Path],
) -> tuple[list[scu.Outgoing], dict[Path, Summary], list[str]]:
    """Read what the association must know of each file: its SOP class, its UID and its transfer syntax."""
    summaries: dict[Path, Summary] = {}
    found = files_of(paths)
    outgoing: list[scu.Outgoing] = []
    problems = list(found.problems)
    for path in found.files:
        try:
            with path.open("rb") as file:
                summary = summarise(read_header(file))
        except InputError as error:
            problems.append(f"{path}: {error}")
            continue
        summaries[path] = summary
        outgoing.append(
            scu.Outgoing(path, summary.SOPClassUID, summary.SOPInstanceUID, summary.transfer_syntax_uid)
        )
    return outgoing, summaries, problems


def _send(
    address: scu.PeerAddress,
    outgoing: Sequence[scu.Outgoing],
    *,
    calling_ae: str,
    tell_audit: Callable[[scu.SendResult], None],
) -> list[scu.SendResult]:
    results: list[scu.SendResult] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Sending", total=len(outgoing))

        def note(result: scu.SendResult) -> None:
            results.append(result)
            tell_audit(result)
            progress.advance(task)

        scu.send(address, outgoing, calling_ae=calling_ae, on_result=note)
    return results


def _is_sent(result: scu.SendResult) -> bool:
    return result.outcome in {scu.Outcome.SENT, scu.Outcome.WARNING}


def _words(result: scu.SendResult) -> str:
    status = "" if result.status is None else f" (status {result.status:04X}H)"
    return f"{result.outgoing.path}: {result.message or result.outcome}{status}"


@contextmanager
def _audited(
    settings: Settings, peer: scu.PeerAddress, summaries: Mapping[Path, Summary]
) -> Iterator[Callable[[scu.SendResult], None]]:
    """Record that a person sends files to a peer, and what came of each; the block is told the results.

    Args:
        settings: say where the trail goes.
        peer: who gets them.
        summaries: what each file is.

    Raises:
        ConfigError: a certificate of the trail can't be used; nothing was sent.
    """
    us = events.this_process(settings.node.ae_title)
    audit = Auditor(open_trail(settings.audit, us, spool=settings.node.spool), us)
    failures = dict.fromkeys(summaries, UNSENT)

    def note(result: scu.SendResult) -> None:
        failures[result.outgoing.path] = failure_of(result)

    audit.sending(peer, list(summaries.values()))
    try:
        yield note
    finally:
        audit.sent(peer, [(summaries[path], failure) for path, failure in failures.items()])
        audit.stopped()
