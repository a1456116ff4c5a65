"""Measure the node's throughput on a long CT series against its bare model, and what a study waits for.

    python benchmarks/throughput.py [--slices 200] [--rounds 3]

The slices of benchmarks/node.py, repeated under new UIDs, go to a node that delivers to a real Orthanc. The
node's time is that of its job, from the claim to the last derived object on disk, while Orthanc takes them on
the same cores. The bare model is the network alone, run in this process as the node runs it, in the same
batches, as many beside each other, stabilised and in memory before the clock starts. Both in turn; a round's
peer is the mean of just before and just after, since the speed of a shared machine drifts. Besides, what the
same pipeline costs without its network: the processor's time for reading, decoding, deriving, encoding,
flushing and digesting.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # as the worker does

import numpy as np
from bare import Batches
from node import CONFIGURATION, MODEL, QUIET_S, Place, _ct, _pass_through, _split
from pydicom import Dataset
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, free_port
from dae_pacs.demo.phantoms import Study, radiograph
from dae_pacs.denoise.engine import TorchDenoiser, open_denoiser
from dae_pacs.image.files import file_digest
from dae_pacs.image.pixels import decode
from dae_pacs.node.events import SeriesTask, Source
from dae_pacs.node.pipeline import CALIBRATION_FRAMES, denoise_series, spread
from dae_pacs.resources import find_bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    slices, source = _ct()
    study = list(itertools.islice(itertools.cycle(slices), options.slices))
    denoiser = open_denoiser(find_bundle(MODEL), device="cpu")
    with tempfile.TemporaryDirectory() as name:
        splits, models, computes = _measure(study, denoiser, Path(name), options.rounds)
        codecs = [_without_network(study, denoiser, Path(name) / str(k)) for k in range(options.rounds)]
    speeds = [model / split["work"] for split, model in zip(splits, models, strict=True)]
    waits = [split["without_quiet"] / compute for split, compute in zip(splits, computes, strict=True)]
    middle = splits[len(splits) // 2]
    told = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in middle.items())
    what = f"{len(study)} slices of 512x512 ({source}, repeated), {len(splits)} rounds"
    record(
        [
            _row("node_over_bare_model_cpu", speeds)
            | {
                "peer": "network alone, s",
                "peer_value": round(statistics.median(models), 1),
                "note": f"{what}; {denoiser.way.name}; stages run beside each other: {told}",
            },
            _row("ct_series_last_byte_to_pacs_over_compute", waits)
            | {
                "peer": "bare compute, s",
                "peer_value": round(statistics.median(computes), 1),
                "note": f"{what}; compute: calibrate and denoise; quiet time left out; {told}",
            },
            _row("pipeline_without_network_ms_a_slice", codecs)
            | {
                "unit": "ms",
                "note": "processor's time of one process for a slice of 512x512, uncompressed, noise known: "
                "read, decode, derive, encode, flush, digest",
            },
        ]
    )


def _measure(
    study: list[Dataset], denoiser: TorchDenoiser, folder: Path, rounds: int
) -> tuple[list[dict[str, float]], list[float], list[float]]:
    """Return the node's splits, the seconds of the network alone, and those of all compute."""
    port = free_port()
    with Orthanc(folder / "pacs") as pacs:
        text = CONFIGURATION.format(port=port, pacs_port=pacs.port, quiet_s=QUIET_S)
        with NodeProcess(folder / "node", text, ae_title="DAE_PACS", port=port) as node:
            place = Place(node, pacs, folder)
            _pass_through([radiograph(Study(), "CR")], place)  # the model is loaded after this one
            splits, bare = [], [_bare(study, denoiser)]
            for _ in range(rounds):
                story = _pass_through(study, place)
                (job,) = story.jobs
                work = (job.finished_at or 0.0) - (job.claimed_at or 0.0)
                splits.append(_split(story) | {"work": work})
                bare.append(_bare(study, denoiser))
            models, computes = zip(*(np.mean(pair, axis=0) for pair in itertools.pairwise(bare)), strict=True)
            return splits, list(models), list(computes)


def _bare(study: list[Dataset], denoiser: TorchDenoiser) -> tuple[float, float]:
    """Time the network alone, and all compute, on arrays in memory."""
    decoded = [decode(ds) for ds in study]
    frames = np.concatenate([one.values for one in decoded])
    sample = spread(decoded, CALIBRATION_FRAMES)
    started = time.perf_counter()
    noise = denoiser.calibrate([one.values[0] for one in sample], [one.keep[0] for one in sample])
    calibrate_s = time.perf_counter() - started
    batches = Batches(denoiser, frames, noise)
    started = time.perf_counter()
    batches.engine(strength=denoiser.identity.default_strength)
    compute_s = time.perf_counter() - started
    started = time.perf_counter()
    batches.network()
    return time.perf_counter() - started, calibrate_s + compute_s


def _without_network(study: list[Dataset], denoiser: TorchDenoiser, folder: Path) -> float:
    """Give the milliseconds of processor time that the pipeline spends on a slice beside its network."""
    folder.mkdir()
    sources = []
    for k, ds in enumerate(study):
        path = folder / f"{k:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        sources.append(Source(k, path, file_digest(path), path.stat().st_size))
    one = decode(study[0])
    task = SeriesTask(
        job_id=1,
        sources=tuple(sources),
        model=MODEL,
        strength=0.0,  # the engine then gives its input back
        description="{source}",
        series_number=2,
        ae_title="DAE_PACS",
        noise=denoiser.calibrate([one.values[0]], [one.keep[0]]).to_json(),
    )
    started = time.process_time()
    denoise_series(
        task, denoiser, lambda _event: None, name_file=lambda source, _: source.path.with_suffix(".out")
    )
    return 1000 * (time.process_time() - started) / len(study)


def _row(name: str, values: list[float]) -> dict[str, object]:
    return {
        "id": name,
        "value": round(statistics.median(values), 3),
        "unit": "",
        "spread": [round(min(values), 3), round(max(values), 3)],
    }


if __name__ == "__main__":
    main()
