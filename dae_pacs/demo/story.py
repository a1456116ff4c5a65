"""The main job on one machine: real images go into a PACS, and denoised series come back to it."""

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from dae_pacs.demo.comparison import as_table, compare
from dae_pacs.demo.images import DemoImage, demo_images
from dae_pacs.demo.node_configuration import node_configuration
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import NodeAddress, free_port
from dae_pacs.demo.pacs import Pacs, open_pacs
from dae_pacs.demo.watch import Watch
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.scu import Outcome, Outgoing, SendResult, outgoing, send
from dae_pacs.errors import InputError, PeerError, ServiceError
from dae_pacs.spool.files import LEDGER_NAME
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.states import JobStatus

TIMEOUT_S = 280.0
WORK_FOLDER = "dae-pacs-demo-run"


def run(*, output: Path, images: Sequence[DemoImage] | None = None, embedded: bool = False) -> int:
    """Run the demo.

    Args:
        output: the folder that gets pictures, copies of the objects and the logs.
        images: what to send; the demo's own images where None.
        embedded: take the embedded archive as the PACS even where Orthanc is installed.

    Raises:
        DaePacsError: something does not come up, or an image does not come back.
    """
    console = Console()
    images = images or demo_images()
    work = _fresh_folder(output)
    with _terminated_like_interrupted():
        started = time.monotonic()
        watch = _send_and_wait(images, work, console, embedded=embedded)
        seconds = time.monotonic() - started
    comparisons = [compare(image.name, watch.twins[image.name], output) for image in images]
    console.print()
    title = f"received {watch.originals}, denoised and delivered {watch.denoised} in {seconds:.1f} s"
    console.print(as_table(comparisons, title))
    for one in comparisons:
        console.print(f"before, after, removed: [bold]{one.picture}[/bold]", highlight=False, soft_wrap=True)
    return 0


def _send_and_wait(images: Sequence[DemoImage], work: Path, console: Console, *, embedded: bool) -> Watch:
    node_address = PeerAddress("DAE_PACS", "127.0.0.1", free_port())
    with ExitStack() as running:
        route = NodeAddress(node_address.ae_title, node_address.port)
        pacs = running.enter_context(open_pacs(work / "pacs", node=route, embedded=embedded))
        console.print(f"PACS: {pacs.name}, {pacs.address}", highlight=False)
        node = NodeProcess(
            work / "node",
            node_configuration(node_address, pacs),
            ae_title=node_address.ae_title,
            port=node_address.port,
        )
        running.callback(node.stop)
        seconds = node.start()
        console.print(f"node: {node_address}, answers after {seconds:.1f} s", highlight=False)
        going = [outgoing(image.path) for image in images]
        target = pacs.address if pacs.routes else node_address
        watch = Watch(
            pacs.objects,
            work.parent,
            {item.SOPInstanceUID: image.name for item, image in zip(going, images, strict=True)},
        )
        _send(going, target)
        console.print(f"sent {len(images)} images to {_whom(pacs)}", highlight=False)
        _wait(watch, node, console)
        _time_denoising(watch, node)
    return watch


def _wait(watch: Watch, node: NodeProcess, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("originals and denoised images in the PACS", total=2 * len(watch.names))
        watch.until_complete(
            timeout_s=TIMEOUT_S,
            still_running=lambda: _check(node),
            seen=lambda count: progress.update(bar, completed=count),
        )


def _check(node: NodeProcess) -> None:
    """Stop waiting when nothing more can come.

    Raises:
        ServiceError: the node has ended, or gave an image up.
    """
    node.check_running()
    with _ledger(node) as ledger:
        failed = ledger.jobs(status=JobStatus.FAILED)
    if failed:
        raise ServiceError(
            f"The node could not denoise a series: {failed[0].reason}. Its log: {node.log_path}"
        )


def _time_denoising(watch: Watch, node: NodeProcess) -> None:
    """Ask the ledger how long the worker was at each series."""
    with _ledger(node) as ledger:
        jobs = {job.SeriesInstanceUID: job for job in ledger.jobs()}
    for twin in watch.twins.values():
        job = jobs[twin.SeriesInstanceUID]
        twin.denoising_s = (job.finished_at or 0.0) - (job.claimed_at or 0.0)


def _ledger(node: NodeProcess) -> Ledger:
    return Ledger(node.folder / "spool" / LEDGER_NAME, verify=False)


def _send(going: list[Outgoing], target: PeerAddress) -> None:
    results: list[SendResult] = []
    send(target, going, calling_ae="MODALITY", on_result=results.append)
    for result in results:
        if result.outcome not in (Outcome.SENT, Outcome.WARNING):
            raise PeerError(f"{target} did not take {result.outgoing.path.name}: {result.message}")


def _whom(pacs: Pacs) -> str:
    return f"the {pacs.name}, which routes to the node" if pacs.routes else "the node"


def _fresh_folder(output: Path) -> Path:
    """Make the folder of this run; the one of the run before goes."""
    work = output / WORK_FOLDER
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    except OSError as error:
        raise InputError(
            f"The folder {output} can't be written ({error.strerror}); name another with --output"
        ) from error
    return work


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Take SIGTERM like Ctrl-C, so that what was started is stopped.

    SIGINT too gets its handler here: a shell that starts us in the background has it ignored.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
