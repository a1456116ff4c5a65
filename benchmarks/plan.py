"""Hold `dae-pacs plan` against a node: simulate a burst of studies, send the same, compare.

    python benchmarks/plan.py

The constants are what `dae-pacs plan --measure` finds on the same machine, the means of just before and just
after, with the node at rest. Eight studies of two kinds go to a node that delivers to a real Orthanc, some at
once, some later. Times are those of the node's ledger. Besides the rows, the case is kept in plan_case.json,
which a test holds the simulation against, and the constants are printed for dae_pacs/capacity/measured.toml.
"""

import json
import statistics
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from node import CONFIGURATION, MODEL, QUIET_S, TIMEOUT_S
from pydicom import Dataset
from results import record

from dae_pacs.capacity import measured
from dae_pacs.capacity.measured import Measured
from dae_pacs.capacity.simulate import Arrival, run
from dae_pacs.capacity.workload import StudyKind
from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import Orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.node.measuring import measure
from dae_pacs.resources import find_bundle
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.report import StudyStory

CASE = Path(__file__).with_name("plan_case.json")
KINDS = {"ct": StudyKind("ct", 12, 512 * 512 / 1e6), "dx": StudyKind("dx", 1, 1500 * 1200 / 1e6)}
BURST = (
    (0.0, "ct"),
    (0.0, "dx"),
    (0.0, "dx"),
    (0.0, "ct"),
    (8.0, "dx"),
    (8.0, "ct"),
    (20.0, "ct"),
    (20.0, "dx"),
)
"""Seconds from the start, and the kind of the study that is sent then."""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        constants, arrivals, stories = _measure(Path(name))
    began = min(arrival.at_s for arrival in arrivals)
    arrivals = [replace(arrival, at_s=arrival.at_s - began) for arrival in arrivals]
    last_s = max(_delivered_at(story) for story in stories) - began
    mean_s = statistics.fmean(_delivered_at(story) - _received_at(story) for story in stories)
    passages = run(arrivals, constants, workers=1)
    told_last_s = max(passage.delivered_s for passage in passages)
    told_mean_s = statistics.fmean(passage.total_s for passage in passages)
    case = {
        "command": "python benchmarks/plan.py",
        "measured": asdict(constants),
        "arrivals": [
            {
                "at_s": round(arrival.at_s, 3),
                "kind": arrival.kind.name,
                "images": arrival.kind.images,
                "megapixels": arrival.kind.megapixels,
            }
            for arrival in arrivals
        ],
        "last_delivered_s": round(last_s, 2),
        "mean_total_s": round(mean_s, 2),
    }
    CASE.write_text(json.dumps(case, indent=1) + "\n")
    print(json.dumps(case["measured"], indent=1))
    record(
        [
            _row(
                "plan_burst_over_measured",
                told_last_s,
                last_s,
                "from the first byte in to the last object out",
            ),
            _row(
                "plan_wait_over_measured",
                told_mean_s,
                mean_s,
                "mean from a study's last byte in to the archive",
            ),
        ]
    )


def _row(name: str, told_s: float, found_s: float, what: str) -> dict[str, object]:
    return {
        "id": name,
        "value": round(told_s / found_s, 2),
        "unit": "",
        "peer": "measured, s",
        "peer_value": round(found_s, 1),
        "note": f"{what}: simulated {told_s:.1f} s, for {len(BURST)} studies of two kinds on one worker",
    }


def _measure(folder: Path) -> tuple[Measured, list[Arrival], list[StudyStory]]:
    port = free_port()
    with Orthanc(folder / "pacs") as pacs:
        text = CONFIGURATION.format(port=port, pacs_port=pacs.port, quiet_s=QUIET_S)
        with NodeProcess(folder / "node", text, ae_title="DAE_PACS", port=port) as node:
            _pass(
                [("dx", _objects("dx", 99))], node, folder / "first", ends=[0.0]
            )  # the model is loaded then
            before = _constants(folder)
            objects = [(kind, _objects(kind, k)) for k, (_, kind) in enumerate(BURST)]
            arrivals, stories = _pass(objects, node, folder / "burst", ends=[at_s for at_s, _ in BURST])
            after = _constants(folder)
    return _between(before, after), arrivals, stories


def _constants(folder: Path) -> Measured:
    denoiser = open_denoiser(find_bundle(MODEL), device="cpu")
    return replace(measure(_slices, denoiser, measured.machine("cpu"), spool=folder), quiet_s=QUIET_S)


def _between(before: Measured, after: Measured) -> Measured:
    """Take the means: other work on the machine comes and goes."""
    both = zip(asdict(before).items(), asdict(after).values(), strict=True)
    means = {name: (one + other) / 2 for (name, one), other in both if isinstance(one, float)}
    return replace(before, **means)


def _slices(folder: Path, slices: int, size: int) -> list[Path]:
    return write_all(ct_series(Study(), slices=slices, size=size), folder)


def _objects(kind: str, seed: int) -> list[Dataset]:
    study = Study(patient_id=f"PLAN-{seed}")
    if kind == "ct":
        return ct_series(study, slices=KINDS["ct"].images, size=512, seed=seed)
    return [radiograph(study, "DX", rows=1500, columns=1200, seed=seed)]


def _pass(
    studies: list[tuple[str, list[Dataset]]], node: NodeProcess, folder: Path, *, ends: list[float]
) -> tuple[list[Arrival], list[StudyStory]]:
    """Send each study at its time, and wait until all are delivered."""
    paths = [write_all(objects, folder / str(k)) for k, (_, objects) in enumerate(studies)]
    began, arrivals = time.time(), []
    for (kind, _), files, at_s in zip(studies, paths, ends, strict=True):
        time.sleep(max(0.0, began + at_s - time.time()))
        arrivals.append(Arrival(time.time(), KINDS[kind]))
        send(
            node.address,
            [outgoing(path) for path in files],
            calling_ae="BENCH",
            on_result=lambda _result: None,
        )
    uids = [str(objects[0].StudyInstanceUID) for _, objects in studies]
    deadline = time.monotonic() + TIMEOUT_S
    with Ledger(node.folder / "spool" / "ledger.sqlite", verify=False) as ledger:
        while time.monotonic() < deadline:
            time.sleep(0.5)
            known = {study.StudyInstanceUID for study in ledger.studies(limit=100)}
            stories = [ledger.study_story(uid) for uid in uids if uid in known]
            if len(stories) == len(uids) and all(_is_done(story) for story in stories):
                return arrivals, stories
    raise TimeoutError(f"the node did not deliver all {len(uids)} studies in {TIMEOUT_S:g} s")


def _is_done(story: StudyStory) -> bool:
    study = story.study
    return study.derived == study.received == study.delivered_deliveries and not study.open_jobs


def _received_at(story: StudyStory) -> float:
    return max(instance.received_at for instance in story.instances if instance.origin == "received")


def _delivered_at(story: StudyStory) -> float:
    return max(delivery.delivered_at or 0.0 for delivery in story.deliveries)


if __name__ == "__main__":
    main()
