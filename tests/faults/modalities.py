"""Senders as a hospital has them: DCMTK's two and ours, and what each of them was answered."""

import hashlib
import itertools
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import generate_uid

from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.dimse import scu
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import PeerError

SIZE_PX = 32
TIMEOUT_S = 120.0


@dataclass
class Item:
    """One object of a modality, which keeps it until it is told that it was stored."""

    path: Path
    uid: str
    pixels: str
    """SHA-256 of its pixel data."""
    tool: str
    """Who sends it, also again: another sender might write the same object with other bytes."""
    is_acknowledged: bool = False


@dataclass
class Archive:
    """Makes objects, each with pixels of its own, without making a phantom each time."""

    folder: Path
    tools: tuple[str, ...]
    _template: Dataset = field(default_factory=lambda: ct_series(Study(), slices=1, size=SIZE_PX)[0])
    _number: itertools.count = field(default_factory=itertools.count)

    def series(self, count: int, *, senders: int = 1) -> list[list[Item]]:
        """Make one series, dealt to several senders who bring it at the same time."""
        study_uid, series_uid = generate_uid(), generate_uid()
        dealt: list[list[Item]] = []
        for _sender in range(senders):
            number = next(self._number)
            tool = self.tools[number % len(self.tools)]
            dealt.append([self._make(tool, study_uid, series_uid) for _ in range(count)])
        return dealt

    def _make(self, tool: str, study_uid: str, series_uid: str) -> Item:
        number = next(self._number)
        ds = self._template
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study_uid, series_uid
        ds.InstanceNumber = number + 1
        rng = np.random.default_rng(number)
        stored = np.clip(rng.normal(1064, 20, (SIZE_PX, SIZE_PX)), 0, 4095).astype(np.uint16)
        ds.PixelData = stored.tobytes()
        path = self.folder / f"{number:06d}.dcm"
        ds.save_as(path, enforce_file_format=True)
        return Item(path, str(ds.SOPInstanceUID), hashlib.sha256(ds.PixelData).hexdigest(), tool)


def installed_tools() -> tuple[str, ...]:
    """Name the senders that are here; ours always is."""
    return ("ours", *(name for name in ("storescu", "dcmsend") if shutil.which(name)))


def send(items: Sequence[Item], port: int) -> None:
    """Send objects over one association, and note which of them were answered with success."""
    if not items:
        return
    if items[0].tool == "ours":
        _send_ours(items, port)
    else:
        _send_dcmtk(items, port)


def _send_ours(items: Sequence[Item], port: int) -> None:
    by_uid = {item.uid: item for item in items}

    def note(result: scu.SendResult) -> None:
        if result.outcome is Outcome.SENT:
            by_uid[result.outgoing.SOPInstanceUID].is_acknowledged = True

    peer = scu.PeerAddress("DAE_PACS", "127.0.0.1", port, TIMEOUT_S, TIMEOUT_S)
    try:
        scu.send(peer, [scu.outgoing(item.path) for item in items], calling_ae="OURS", on_result=note)
    except PeerError:
        return  # it was killed before it took the association; the objects wait


def _send_dcmtk(items: Sequence[Item], port: int) -> None:
    """Send with storescu or dcmsend; both say of each object, in order, how it was answered."""
    command = [
        items[0].tool,
        "-v",
        "-nh",
        "-aec",
        "DAE_PACS",
        "-td",
        "60",
        "-ta",
        "60",
        "127.0.0.1",
        str(port),
    ]
    ended = subprocess.run(
        [*command, *(str(item.path) for item in items)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    number = -1
    for line in (ended.stdout + ended.stderr).splitlines():
        if "Store Request (MsgID" in line or "C-STORE Request (MsgID" in line:
            number += 1
        elif "Response (Success)" in line and number >= 0:
            items[number].is_acknowledged = True
