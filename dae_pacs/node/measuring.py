"""Measure this machine's constants for `dae-pacs plan`: the pipeline on made-up slices, and the disk."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from dae_pacs.capacity.measured import Measured
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import SpoolError
from dae_pacs.image.files import file_digest
from dae_pacs.node.events import Event, Finished, Rejected, SeriesTask, Source
from dae_pacs.node.pipeline import denoise_series
from dae_pacs.spool.incoming import IncomingFile

SMALL_BYTES = 524_288
"""A CT slice of 512x512 and 16 bits."""
LARGE_BYTES = 16_777_216
"""A radiograph of 8 megapixels."""
FILES = 24
NODE_S_AN_OBJECT = 0.0011
"""Of the node for each object beside its disk: 0.6 ms until the answer, 0.5 behind it (benchmarks/receive.py,
two cores of an AMD EPYC)."""


def measure(
    series: Callable[[Path, int, int], list[Path]], denoiser: Denoiser, base: Measured, *, spool: Path
) -> Measured:
    """Time the worker's stages and the disk's flushes; what depends on others stays as `base` has it.

    Args:
        series: writes so many CT slices of so many rows and columns into a folder, and gives their paths.
        denoiser: the model, on the device that will run it.
        base: where the archive's speed comes from.
        spool: a folder on the disk that the node will use.

    Raises:
        SpoolError: the disk refuses, or the pipeline could not do its work.
    """
    with _scratch(spool) as folder:
        few, many = (_stages(series(folder / str(count), count, 512), denoiser) for count in (2, 10))
        small_s, large_s = _flush_s(folder, SMALL_BYTES), _flush_s(folder, LARGE_BYTES)
    megapixels = 8 * 512 * 512 / 1e6
    each = {stage: max(many[stage] - few.get(stage, 0.0), 0.0) / megapixels for stage in many}
    shares_cores = str(getattr(denoiser, "device", "cpu")).startswith("cpu")
    codecs = each["decode"] + each["encode"]
    # On the same cores each stage's wall time holds the others': what remains of the whole is the network's.
    network = max(each["total"] - codecs, 0.0) if shares_cores else each["denoise"]
    known = network + codecs if shares_cores else max(network, codecs)
    a_second = (LARGE_BYTES - SMALL_BYTES) / 1e6 / max(large_s - small_s, 1e-6)
    return replace(
        base,
        name="this machine",
        machine=f"{os.cpu_count()} cores, model on {getattr(denoiser, 'device', 'its device')}",
        receive_s_an_object=max(small_s - SMALL_BYTES / 1e6 / a_second, 0.0) + NODE_S_AN_OBJECT,
        receive_mb_a_second=min(a_second, base.receive_mb_a_second),
        decode_s_a_megapixel=each["decode"],
        denoise_s_a_megapixel=network,
        encode_s_a_megapixel=each["encode"],
        image_s=max(each["total"] - known, 0.0) * megapixels / 8,
        series_s=many["calibrate"],
        shares_cores=shares_cores,
    )


def _stages(paths: list[Path], denoiser: Denoiser) -> dict[str, float]:
    """Send a series through the pipeline, and give the seconds of its stages and of the whole."""
    sources = tuple(Source(k, path, file_digest(path), path.stat().st_size) for k, path in enumerate(paths))
    task = SeriesTask(
        job_id=0,
        sources=sources,
        model=denoiser.identity.name,
        strength=None,
        description="{source}",
        series_number=1,
        ae_title="DAE_PACS",
    )
    seconds: dict[str, float] = {}

    def hear(event: Event) -> None:
        if isinstance(event, Rejected):
            raise SpoolError(f"a made-up slice could not be denoised: {event.reason}")
        if isinstance(event, Finished):
            seconds.update(event.stage_seconds)

    def name_file(source: Source, _derived: Dataset) -> Path:
        return source.path.with_suffix(".out")

    started = time.perf_counter()
    denoise_series(task, denoiser, hear, name_file=name_file)
    return seconds | {"total": time.perf_counter() - started - seconds.get("calibrate", 0.0)}


def _flush_s(folder: Path, size: int) -> float:
    """Give the median time to write one incoming object and put it on stable storage."""
    times = []
    for k in range(FILES if size == SMALL_BYTES else FILES // 4):
        started = time.perf_counter()
        incoming = IncomingFile(folder / f"incoming-{size}-{k}")
        block = memoryview(os.urandom(1 << 17))
        for _ in range(size // len(block)):
            incoming.write(block)
        incoming.flush()
        times.append(time.perf_counter() - started)
        incoming.delete()
    return sorted(times)[len(times) // 2]


@contextmanager
def _scratch(spool: Path) -> Iterator[Path]:
    place = next((folder for folder in (spool, *spool.parents) if folder.is_dir()), Path())
    try:
        folder = Path(tempfile.mkdtemp(prefix="measuring-", dir=place))
    except OSError as error:
        raise SpoolError(
            f"Can't measure the disk of {place}: {error.strerror}. "
            "Name a folder that you may write to as node.spool."
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
