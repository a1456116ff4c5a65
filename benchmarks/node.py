"""Measure the way of a study through the node, from its last byte in to its derived series at Orthanc.

    python benchmarks/node.py

Two studies: 28 CT slices (../shared/data/dicom/ct-ge-head where it is there, else made up) and one made-up
radiograph of 2500 rows and 2000 columns. Each is sent several times under new UIDs to a node whose model is
loaded; the bare compute (calibrate and denoise the same arrays in this process) is measured in turn with it.
The times are those of the node's ledger, where `delivered` stands for Orthanc's C-STORE response.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from results import record

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.image.pixels import decode
from dae_pacs.node.pipeline import CALIBRATION_FRAMES, spread
from dae_pacs.resources import find_bundle
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.report import StudyStory

MODEL = "xray_radiograph_denoising"
REPEATS = 3
QUIET_S = 2.0
TIMEOUT_S = 900.0
CT_FOLDER = Path(__file__).resolve().parents[2] / "shared" / "data" / "dicom" / "ct-ge-head"
CONFIGURATION = """
[node]
accept = "anyone"
port = {port}
quiet_s = {quiet_s}
minimum_free_mb = 10

[log]
level = "WARNING"

[peers.pacs]
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}

[[rules]]
name = "images"
when = {{ Modality = ["CT", "CR", "DX"] }}
destinations = ["pacs"]
"""

Split = dict[str, float]


@dataclass(frozen=True)
class Place:
    """What runs, and the node's folder."""

    node: NodeProcess
    pacs: Orthanc
    folder: Path


def main() -> None:
    denoiser = open_denoiser(find_bundle(MODEL), device="cpu")
    ct, source = _ct()
    dx = [radiograph(Study(), "DX", rows=2500, columns=2000)]
    with tempfile.TemporaryDirectory() as folder:
        ct_splits, ct_bare, ct_peak = _measure(ct, denoiser, Path(folder) / "ct")
        dx_splits, dx_bare, dx_peak = _measure(dx, denoiser, Path(folder) / "dx")
    ratios = [split["without_quiet"] / bare for split, bare in zip(ct_splits, ct_bare, strict=True)]
    seconds = [split["without_quiet"] for split in dx_splits]
    rows = [
        _row("ct28_last_byte_to_pacs_over_compute", ratios, "")
        | {
            "peer": "bare compute, s",
            "peer_value": round(statistics.median(ct_bare), 2),
            "note": f"{source}; {_describe(ct_splits)}",
        },
        _row("dx_last_byte_to_pacs_seconds", seconds, "s")
        | {
            "peer": "bare compute, s",
            "peer_value": round(statistics.median(dx_bare), 2),
            "note": f"made-up radiograph; {_describe(dx_splits)}",
        },
    ]
    for name, splits in (("ct28", ct_splits), ("dx", dx_splits)):
        rows += [
            _row(f"{name}_{stage}_seconds", [split[stage] for split in splits], "s")
            for stage in ("receive", "wait", "decode", "denoise", "encode", "send")
        ]
    for name, peak in (("ct28", ct_peak), ("dx", dx_peak)):
        for process, megabytes in zip(("receiver", "worker"), peak, strict=True):
            note = f"peak resident memory of the {process} process over {REPEATS} studies (VmHWM)"
            rows.append(
                {"id": f"{name}_{process}_peak_rss_mb", "value": megabytes, "unit": "MB", "note": note}
            )
    record(rows)


def _measure(
    study: Sequence[Dataset], denoiser: Denoiser, folder: Path
) -> tuple[list[Split], list[float], tuple[int, int]]:
    """Send a study several times, bare compute in between; return splits, bare seconds and peak memory."""
    port = free_port()
    with Orthanc(folder / "pacs") as pacs:
        text = CONFIGURATION.format(port=port, pacs_port=pacs.port, quiet_s=QUIET_S)
        with NodeProcess(folder / "node", text, ae_title="DAE_PACS", port=port) as node:
            place = Place(node, pacs, folder)
            _pass_through([radiograph(Study(), "CR")], place)  # the model is loaded after this one
            splits, bare = [], []
            for _ in range(REPEATS):
                bare.append(_bare_compute(study, denoiser))
                splits.append(_split(_pass_through(study, place)))
            return splits, bare, _peak_mb(node.pid)


def _pass_through(study: Sequence[Dataset], place: Place) -> StudyStory:
    """Send a study under new UIDs and wait until its derived series stands at Orthanc."""
    study_uid, series_uid = generate_uid(), generate_uid()
    paths = []
    for k, source in enumerate(study):
        ds = _copy(source)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        path = place.folder / f"{k:04d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    before = place.pacs.rest.count_instances()
    send(
        place.node.address,
        [outgoing(path) for path in paths],
        calling_ae="BENCHMARK",
        on_result=lambda _: None,
    )
    deadline = time.monotonic() + TIMEOUT_S
    time.sleep(1.0)  # rows come up to half a second behind the answers
    while time.monotonic() < deadline:
        place.node.check_running()
        with Ledger(place.node.folder / "spool" / "ledger.sqlite", verify=False) as ledger:
            story = ledger.study_story(study_uid)
        done = [delivery for delivery in story.deliveries if delivery.delivered_at is not None]
        if len(done) == len(study) and place.pacs.rest.count_instances() == before + len(study):
            return story
        time.sleep(0.25)
    raise SystemExit(f"{len(done)} of {len(study)} images were delivered within {TIMEOUT_S:.0f} s")


def _copy(source: Dataset) -> Dataset:
    """Copy an object without sharing its elements (pydicom's own copies share them)."""
    copy = Dataset()
    for element in source:
        copy[element.tag] = type(element)(element.tag, element.VR, element.value)
    copy.file_meta = type(source.file_meta)()
    copy.file_meta.TransferSyntaxUID = source.file_meta.TransferSyntaxUID
    copy.file_meta.MediaStorageSOPClassUID = source.SOPClassUID
    return copy


def _split(story: StudyStory) -> Split:
    """Take a study's seconds apart; `send` is what is left after the last image was made."""
    received = [instance.received_at for instance in story.instances if instance.origin == "received"]
    delivered = [delivery.delivered_at or 0.0 for delivery in story.deliveries]
    (job,) = story.jobs
    claimed, finished = job.claimed_at or 0.0, job.finished_at or 0.0
    wait = claimed - max(received)
    total = max(delivered) - max(received)
    compute = job.stages.get("calibrate", 0.0) + job.stages.get("denoise", 0.0)
    return {
        "receive": max(received) - min(received),
        "wait": wait,
        "decode": job.stages.get("decode", 0.0),
        "denoise": compute,
        "encode": job.stages.get("encode", 0.0),
        "send": max(0.0, max(delivered) - finished),
        "total": total,
        "quiet": min(QUIET_S, max(0.0, wait)),
        "without_quiet": total - min(QUIET_S, max(0.0, wait)),
    }


def _bare_compute(study: Sequence[Dataset], denoiser: Denoiser) -> float:
    """Measure and denoise the same arrays as the node does, without files, headers and network."""
    decoded = [decode(ds) for ds in study]
    started = time.perf_counter()
    sample = spread(decoded, CALIBRATION_FRAMES)
    noise = denoiser.calibrate([one.values[0] for one in sample], [one.keep[0] for one in sample])
    for one in decoded:
        denoiser.denoise(one.values, one.keep, noise=noise, strength=denoiser.identity.default_strength)
    return time.perf_counter() - started


def _ct() -> tuple[list[Dataset], str]:
    paths = sorted(CT_FOLDER.glob("*.dcm"))
    if paths:
        return [dcmread(path) for path in paths], "GE head CT, 28 slices of 512x512"
    return ct_series(Study(), slices=28, size=512), "made-up head CT, 28 slices of 512x512"


def _row(name: str, values: list[float], unit: str) -> dict[str, object]:
    return {
        "id": name,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "spread": [round(min(values), 3), round(max(values), 3)],
        "note": f"median of {len(values)}",
    }


def _describe(splits: list[Split]) -> str:
    """Say where the seconds went, in the run in the middle."""
    middle = sorted(splits, key=lambda split: split["without_quiet"])[len(splits) // 2]
    parts = ", ".join(
        f"{stage} {seconds:.2f} s" for stage, seconds in middle.items() if stage != "without_quiet"
    )
    return f"median of {len(splits)} runs; the run in the middle: {parts}"


def _peak_mb(pid: int) -> tuple[int, int]:
    """Return the peak resident memory of the receiving process and of its largest child, in MB."""
    children = psutil.Process(pid).children(recursive=True)
    return _high_water_mb(pid), max((_high_water_mb(child.pid) for child in children), default=0)


def _high_water_mb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) * 1024 / 1e6)
    return 0


if __name__ == "__main__":
    main()
