"""The outputs of one rule: strengths side by side, and what was removed."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from dae_pacs.config.model import ModelSettings, NodeSettings, Peer, Rule, Settings
from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scu import PeerAddress, outgoing, send
from dae_pacs.image import files
from dae_pacs.image.check import check
from dae_pacs.image.pixels import decode
from dae_pacs.node.events import Derived, Rejected
from dae_pacs.node.lifecycle import Node
from dae_pacs.node.pipeline import denoise_series


def derive(task, denoiser, **changes):
    events = []
    target = task.sources[0].path.with_name(f"{len(list(task.sources[0].path.parent.iterdir()))}.dcm")
    denoise_series(replace(task, **changes), denoiser, events.append, name_file=lambda *_: target)
    return events


def test_denoised_plus_removed_is_the_source_pixel_for_pixel(make_task, denoiser):
    task = make_task(slices=1)
    source = files.read(task.sources[0].path)
    made = {}
    for kind in ("denoised", "removed"):
        (event,) = [event for event in derive(task, denoiser, kind=kind) if isinstance(event, Derived)]
        made[kind] = files.read(event.path)
    before, denoised, removed = (decode(ds).values for ds in (source, made["denoised"], made["removed"]))
    np.testing.assert_array_equal(denoised + removed, before)
    assert removed.any()
    assert made["removed"].SeriesInstanceUID != made["denoised"].SeriesInstanceUID
    assert made["removed"].WindowWidth > 0
    for ds in made.values():
        verdict = check(source, ds)
        assert verdict.is_right, verdict.findings


def test_an_object_that_can_not_carry_it_is_rejected_with_the_reason(make_task, denoiser):
    task = make_task(slices=1)
    path = task.sources[0].path
    ds = dcmread(path)
    item = Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [0, 0, 16], "US"
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "OW", np.arange(1 << 16, dtype="<u2").tobytes())
    ds.ModalityLUTSequence = [item]
    del ds.RescaleSlope, ds.RescaleIntercept
    ds.save_as(path)
    (rejected,) = [e for e in derive(task, denoiser, kind="removed") if isinstance(e, Rejected)]
    assert "ModalityLUTSequence" in rejected.reason
    assert [e for e in derive(task, denoiser) if isinstance(e, Derived)]


@pytest.mark.slow
def test_a_node_makes_every_series_that_its_rule_asks_for(tmp_path):
    rule = Rule(
        name="ct",
        when={"Modality": "CT"},
        destinations=("pacs",),
        strengths=(0.3,),
        removed=True,
        compression="jpegls",
    )
    settings = Settings(
        node=NodeSettings(spool=tmp_path / "spool", port=0, quiet_s=0.2, minimum_free_mb=0, accept="anyone"),
        model=ModelSettings(strength=0.7),
        peers={"pacs": Peer(ae_title="NOBODY", host="127.0.0.1", port=9)},
        rules=(rule,),
    )
    paths = write_all(ct_series(Study(), slices=2, size=64), tmp_path / "series")
    node = Node(settings)
    node.start()
    try:
        peer = PeerAddress("DAE_PACS", "127.0.0.1", node.scp.port)
        send(peer, [outgoing(path) for path in paths], calling_ae="CT", on_result=lambda _: None)
        deadline = time.monotonic() + 120
        while {job.status.value for job in node.ledger.jobs()} != {"done"}:
            assert time.monotonic() < deadline, node.ledger.jobs()
            time.sleep(0.1)
        made = _derived(node)
    finally:
        node.stop()
    assert len(made) == 6
    by_description = {str(ds.SeriesDescription).split(" ", 1)[-1]: ds for ds in made}
    endings = sorted(text.split(" s=")[-1] for text in by_description)
    assert endings == ["0.3", "0.7", "0.7"]
    assert len({ds.SeriesInstanceUID for ds in made}) == 3
    assert len({ds.SeriesNumber for ds in made}) == 3
    assert {ds.file_meta.TransferSyntaxUID for ds in made} == {"1.2.840.10008.1.2.4.80"}


def _derived(node: Node):
    study = node.ledger.studies()[0].StudyInstanceUID
    instances = node.ledger.study_story(study).instances
    return [dcmread(Path(i.path)) for i in instances if i.origin == "derived"]
