"""A made-up study of what differs on the way to the screen, sent to a node that denoises it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Page
from pydicom import Dataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from dae_pacs.demo.phantoms import Study, ct_series, radiograph
from dae_pacs.dimse.outgoing import Outgoing
from dae_pacs.dimse.scu import send
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.image import files
from dae_pacs.image.pixels import decode

CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.3
minimum_free_mb = 0

[audit]
file = "audit.xml"

[web]
port = 0

[peers.nowhere]
ae_title = "NOWHERE"
host = "127.0.0.1"
port = 9

[[rules]]
name = "ct"
when = { Modality = "CT" }
model = "xray_radiograph_denoising"
strength = 0.8
destinations = ["nowhere"]

[[rules]]
name = "radiographs"
when = { Modality = ["CR", "DX"] }
model = "xray_radiograph_denoising"
strength = 0.6
destinations = ["nowhere"]

[[rules]]
name = "everything else"
action = "keep"
"""


@dataclass(frozen=True)
class Sent:
    """What was sent: the study, and its objects by what they are."""

    study: Study
    ct: list[Dataset]
    dx: Dataset
    cr: Dataset
    frames: Dataset
    broken: Dataset

    @property
    def all(self) -> list[Dataset]:
        return [*self.ct, self.dx, self.cr, self.frames, self.broken]


def make_study() -> Sent:
    study = Study()
    return Sent(
        study,
        ct=ct_series(study, slices=4, size=128, series_number=1),
        dx=_sixteen_bits(radiograph(study, "DX", rows=160, columns=128, series_number=2)),
        cr=_monochrome1(radiograph(study, "CR", rows=128, columns=160, series_number=3)),
        frames=_multi_frame(study),
        broken=_undecodable(study),
    )


def _sixteen_bits(ds: Dataset) -> Dataset:
    """Spread the values over all of 16 bits, so that squeezing them to 8 early would show."""
    ds.BitsStored, ds.HighBit = 16, 15
    stored = np.frombuffer(ds.PixelData, dtype="<u2").astype(np.uint32) * 15 + 7
    ds.PixelData = stored.astype("<u2").tobytes()
    ds.WindowCenter, ds.WindowWidth = 18000, 900
    return ds


def _monochrome1(ds: Dataset) -> Dataset:
    ds.PhotometricInterpretation = "MONOCHROME1"
    return ds


def _multi_frame(study: Study) -> Dataset:
    """Six frames under MR's class, which the last rule keeps: originals alone, with oblong pixels."""
    slices = ct_series(study, slices=6, size=64, series_number=4)
    ds = slices[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    ds.Modality, ds.NumberOfFrames, ds.SeriesDescription = "MR", 6, "Cine"
    ds.PixelData = b"".join(one.PixelData for one in slices)
    ds.PixelSpacing = [2.0, 1.0]
    return ds


def _undecodable(study: Study) -> Dataset:
    ds = radiograph(study, "CR", rows=64, columns=64, series_number=5)
    ds.Modality, ds.SeriesDescription = "OT", "Broken"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    stream = b"\xff\x4f\xff\x51" + bytes(400)
    items = b"\xfe\xff\x00\xe0" + bytes(4) + b"\xfe\xff\x00\xe0" + len(stream).to_bytes(4, "little") + stream
    ds.PixelData = items + b"\xfe\xff\xdd\xe0" + bytes(4)
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    return ds


def write(objects: list[Dataset], folder: Path) -> list[Path]:
    """Write every object under its number."""
    paths = [folder / f"{number}.dcm" for number in range(len(objects))]
    for ds, path in zip(objects, paths, strict=True):
        ds.save_as(path, enforce_file_format=True)
    return paths


def until(true: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until something holds, and give it."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


RENDER = """async ([values, type, voi]) => {
  const { render } = await import("/static/look/grey.js");
  const kinds = { i1: Int8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array };
  Object.assign(kinds, { f4: Float32Array, f8: Float64Array });
  const stored = kinds[type].from(values);
  const pixels = new Uint32Array(stored.length);
  render({ type, slope: 0.5, intercept: -3, modality_table: null }, stored, voi, false, pixels);
  return Array.from(pixels, (pixel) => pixel & 255);
}"""

READ_CANVAS = """([pane, left, top, width, height]) => {
  const canvas = document.querySelector(`canvas[data-pane=${pane}]`);
  const { left: x, top: y } = canvas.dataset;
  const data = canvas.getContext("2d").getImageData(Number(x) + left, Number(y) + top, width, height).data;
  return Array.from(data.filter((_, i) => i % 4 === 0));
}"""


class Looked:
    """The study as the node holds it."""

    def __init__(self, console: Any, sent: Sent, folder: Path) -> None:
        self.console = console
        self.sent = sent
        results = []
        outgoing = [
            Outgoing(path, ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
            for ds, path in zip(sent.all, write(sent.all, folder), strict=True)
        ]
        send(console.address, outgoing, calling_ae="TEST", on_result=results.append)
        assert {result.outcome for result in results} == {Outcome.SENT}

    @property
    def number(self) -> int:
        found = self.console.node.ledger.views.study_id_of(self.sent.study.uid)
        assert found is not None
        return int(found)

    @property
    def pairs(self) -> Any:
        return self.console.node.ledger.views.pairs(self.number)

    @property
    def url(self) -> str:
        return f"/studies/{self.number}/look"

    def path_of(self, ds: Any) -> Path:
        found = [one.path for one in self.pairs.originals if ds.SOPInstanceUID == one.SOPInstanceUID]
        return Path(found[0])

    def values_of(self, ds: Any, frame: int = 0) -> NDArray[np.float32]:
        return decode(files.open_object(self.path_of(ds))).values[frame]

    def job_of(self, ds: Any) -> Any:
        """The job that denoised an object."""
        (original,) = [one.id for one in self.pairs.originals if one.SOPInstanceUID == ds.SOPInstanceUID]
        (job,) = [pair.job_id for pair in self.pairs.pairs if pair.original_id == original]
        return self.pairs.jobs[job]

    def denoised_of(self, ds: Any) -> NDArray[np.float32]:
        (original,) = [one.id for one in self.pairs.originals if one.SOPInstanceUID == ds.SOPInstanceUID]
        (made,) = [pair.derived.path for pair in self.pairs.pairs if pair.original_id == original]
        return decode(files.open_object(made)).values[0]


def shown(page: Page) -> str:
    return str(page.locator("#look").get_attribute("data-turn"))


def choose(page: Page, series: str) -> None:
    before = shown(page)
    page.locator("[data-part=series]").select_option(label=series)
    page.wait_for_function("turn => document.querySelector('#look').dataset.turn !== turn", arg=before)
    settle(page)


def settle(page: Page) -> None:
    """Wait until what is due is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def pixels(page: Page, pane: str, shape: tuple[int, int]) -> NDArray[np.int64]:
    settle(page)
    rows, columns = shape
    return np.array(page.evaluate(READ_CANVAS, [pane, 0, 0, columns, rows])).reshape(shape)


def window(values: NDArray[np.float32], centre: float, width: float) -> NDArray[np.float64]:
    """Apply PS3.3 C.11.2.1.2.1, to 0..255."""
    return np.clip((values.astype(float) - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


def set_window(page: Page, centre: float, width: float) -> None:
    for part, value in (("centre", centre), ("width", width)):
        page.locator(f"[data-part={part}]").fill(str(value))
        page.keyboard.press("Enter")
    page.locator("canvas[data-pane=main]").focus()


def draw_rectangle(page: Page, left: int, top: int, right: int, bottom: int) -> None:
    """Drag over image pixels; the page must show 1:1."""
    canvas = page.locator("canvas[data-pane=main]")
    box = canvas.bounding_box()
    assert box is not None
    x, y = (
        box[side] + int(canvas.get_attribute(f"data-{name}") or 0)
        for side, name in (("x", "left"), ("y", "top"))
    )
    page.keyboard.press("r")
    page.mouse.move(x + left, y + top)
    page.mouse.down()
    page.mouse.move(x + right, y + bottom)
    page.mouse.up()
    settle(page)


def spectrum(values: NDArray[np.float64], spacing: tuple[float, float], side: int) -> NDArray[np.float64]:
    """Measure the noise power spectrum as IEC 62220-1-1:2015 has it."""
    rows, columns = values.shape
    y, x = np.mgrid[0:rows, 0:columns].reshape(2, -1) / max(values.shape)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    factors, *_ = np.linalg.lstsq(terms, values.ravel(), rcond=None)
    flat = (values.ravel() - terms @ factors).reshape(values.shape)
    squares = [
        flat[top : top + side, left : left + side]
        for top in range(0, rows - side + 1, side // 2)
        for left in range(0, columns - side + 1, side // 2)
    ]
    power = np.mean([np.abs(np.fft.fft2(square)) ** 2 for square in squares], axis=0)
    return power * spacing[0] * spacing[1] / side**2
