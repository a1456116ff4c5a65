"""The main job on one machine: real images go into a PACS, and denoised series come back to it."""

import shutil
import signal
import time
from collections.abc import Iterator
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
from dae_pacs.errors import InputError, PeerError

TIMEOUT_S = 280.0
WORK_FOLDER = "dae-pacs-demo-run"


def run(*, output: Path) -> int:
    """Run the demo; pictures, copies of the objects and the logs go into `output`.

    Raises:
        DaePacsError: something does not come up, or an image does not come back.
    """
    console = Console()
    images = demo_images()
    work = _fresh_folder(output)
    with _terminated_like_interrupted():
        started = time.monotonic()
        watch = _send_and_wait(images, work, console)
        seconds = time.monotonic() - started
    comparisons = [compare(image.name, watch.twins[image.name], output) for image in images]
    console.print()
    title = f"received {watch.originals}, denoised and delivered {watch.denoised} in {seconds:.1f} s"
    console.print(as_table(comparisons, title))
    for one in comparisons:
        console.print(f"before, after, removed: [bold]{one.picture}[/bold]", highlight=False, soft_wrap=True)
    return 0


def _send_and_wait(images: list[DemoImage], work: Path, console: Console) -> Watch:
    node_address = PeerAddress("DAE_PACS", "127.0.0.1", free_port())
    with ExitStack() as running:
        pacs = running.enter_context(
            open_pacs(work / "pacs", node=NodeAddress(node_address.ae_title, node_address.port))
        )
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
    return watch


def _wait(watch: Watch, node: NodeProcess, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("originals and denoised images in the PACS", total=2 * len(watch.names))
        watch.until_complete(
            timeout_s=TIMEOUT_S,
            still_running=node.check_running,
            seen=lambda count: progress.update(bar, completed=count),
        )


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
    """Take SIGTERM like Ctrl-C, so that what was started is stopped."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
