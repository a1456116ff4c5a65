"""The page in a real browser, on what a real node denoised: what is seen equals what numpy computes."""

from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from look_study import (
    CONFIGURATION,
    RENDER,
    Looked,
    choose,
    draw_rectangle,
    make_study,
    pixels,
    set_window,
    settle,
    spectrum,
    until,
    window,
)
from playwright.sync_api import Page, expect

from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.image import files
from dae_pacs.image.pixels import decode_run, encode, open_image
from dae_pacs.noise.model import NoiseModel
from dae_pacs.resources import find_bundle
from dae_pacs.web.role import Role

__all__ = ["CONFIGURATION"]  # for the node of this module


@pytest.fixture(scope="module")
def looked(console: Any, tmp_path_factory: pytest.TempPathFactory) -> Looked:
    looked = Looked(console, make_study(), tmp_path_factory.mktemp("sent"))
    console.node.ledger.index.drain(5)
    until(lambda: len(looked.pairs.pairs) == len(looked.sent.ct) + 2, 120.0)
    return looked


@pytest.fixture(scope="module")
def cookies(looked: Looked) -> list[dict[str, str]]:
    """Those of a viewer: a page each would log in otherwise."""
    with looked.console.client(Role.VIEWER) as client:
        found = dict(client.cookies)
    return [{"name": name, "value": value, "url": looked.console.url} for name, value in found.items()]


@pytest.fixture
def page(looked: Looked, open_page: Any, cookies: list[dict[str, str]]) -> Page:
    page: Page = open_page(viewport={"width": 1400, "height": 950})
    page.context.add_cookies(cookies)
    page.goto(looked.url)
    page.wait_for_selector("#look[data-turn]")
    return page


@pytest.mark.parametrize(
    ("name", "series", "is_inverse"),
    [("ct", "1: Head 5.0", 0), ("dx", "2: Knee AP", 0), ("cr", "3: Knee AP", 1)],
)
def test_greys_are_those_of_the_standard(
    page: Page, looked: Looked, name: str, series: str, is_inverse: int
) -> None:
    choose(page, series)
    ds = looked.sent.ct[1] if name == "ct" else getattr(looked.sent, name)
    page.keyboard.press("3")
    page.keyboard.press("o")
    for centre, width in ((float(ds.WindowCenter), float(ds.WindowWidth)), (ds.WindowCenter + 33.0, 77.0)):
        set_window(page, centre, width)
        for pane, values in (("main", looked.values_of(ds)), ("second", looked.denoised_of(ds))):
            expected = window(values, centre, width)
            expected = 255 - expected if is_inverse else expected
            assert np.abs(pixels(page, pane, values.shape) - expected).max() <= 1
    assert 20 < expected.mean() < 235


VOI = {
    "SIGMOID": lambda x: 1 / (1 + np.exp(-4 * (x - 10) / 50)),
    "LINEAR_EXACT": lambda x: np.clip((x - 10) / 50 + 0.5, 0, 1),
    "LINEAR": lambda x: np.clip((x - 9.5) / 49 + 0.5, 0, 1),
}


def test_every_function_and_stored_type_is_rendered(page: Page) -> None:
    for kind in ("i1", "i2", "u2", "i4", "f4", "f8"):
        stored = np.arange(0 if kind == "u2" else -100, 120).astype(kind)
        for name, function in VOI.items():
            voi = {"centre": 10, "width": 50, "function": name}
            told = page.evaluate(RENDER, [stored.tolist(), kind, voi])
            assert np.abs(np.array(told) - function(stored * 0.5 - 3.0) * 255).max() <= 1, (kind, name)


def test_a_voi_lut_maps_whole_values_and_holds_at_its_ends(page: Page) -> None:
    entries = [0, 1000, 3000, 4095]
    for kind in ("i2", "f4"):
        stored = np.arange(-20, 20).astype(kind)
        told = page.evaluate(RENDER, [stored.tolist(), kind, {"first": -5, "bits": 12, "entries": entries}])
        values = np.floor(stored * 0.5 - 3.0 + 0.5).astype(int)
        expected = np.array(entries)[np.clip(values + 5, 0, 3)] / 4095 * 255
        assert np.abs(np.array(told) - expected).max() <= 1


def test_the_wipe_divides_original_and_denoised(page: Page, looked: Looked) -> None:
    ds = looked.sent.ct[1]
    page.keyboard.press("o")
    before = window(looked.values_of(ds), ds.WindowCenter, ds.WindowWidth)
    after = window(looked.denoised_of(ds), ds.WindowCenter, ds.WindowWidth)
    for share, expected in (("100", before), ("0", after)):
        page.locator("[data-part=wipe]").fill(share)
        assert np.abs(pixels(page, "main", before.shape) - expected).max() <= 1
    page.locator("[data-part=wipe]").fill("50")
    canvas = page.locator("canvas[data-pane=main]")
    box = canvas.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2
    page.mouse.move(middle + 3, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(middle + 30, box["y"] + 120)
    page.mouse.up()
    moved = float(page.locator("[data-part=wipe]").input_value())
    assert moved == pytest.approx(100 * (0.5 + 30 / box["width"]), abs=1)
    seen = pixels(page, "main", before.shape)
    edge = round(box["width"] / 2 + 30) - int(canvas.get_attribute("data-left") or 0)
    assert np.abs(seen[:, : edge - 4] - before[:, : edge - 4]).max() <= 1
    assert np.abs(seen[:, edge + 4 :] - after[:, edge + 4 :]).max() <= 1
    page.keyboard.press(".")
    assert float(page.locator("[data-part=wipe]").input_value()) == pytest.approx(moved + 2, abs=1)


def test_space_blinks(page: Page, looked: Looked) -> None:
    ds = looked.sent.ct[1]
    page.keyboard.press("o")
    page.locator("canvas[data-pane=main]").focus()
    for values in (looked.denoised_of(ds), looked.values_of(ds), looked.denoised_of(ds)):
        page.keyboard.press(" ")
        expected = window(values, ds.WindowCenter, ds.WindowWidth)
        assert np.abs(pixels(page, "main", values.shape) - expected).max() <= 1


def test_dragging_sets_the_window(page: Page) -> None:
    box = page.locator("canvas[data-pane=removed]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 100, steps=4)
    page.mouse.up()
    settle(page)
    width = float(page.locator("[data-part=width]").input_value())
    assert width == pytest.approx(100 * np.exp(50 / 200), rel=0.01)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 140)
    page.mouse.up()
    settle(page)
    assert float(page.locator("[data-part=centre]").input_value()) == pytest.approx(40 + width / 10, rel=0.02)
    page.keyboard.press("0")
    settle(page)
    assert float(page.locator("[data-part=width]").input_value()) == 100


def test_wheel_and_keys_scroll_through_slices(page: Page, looked: Looked) -> None:
    position = page.locator("[data-part=position]")
    expect(position).to_have_text("2 of 4")
    page.locator("canvas[data-pane=main]").hover()
    page.mouse.wheel(0, 50)
    expect(position).to_have_text("3 of 4")
    page.keyboard.press("End")
    expect(position).to_have_text("4 of 4")
    page.keyboard.press("PageDown")
    expect(position).to_have_text("4 of 4")
    page.keyboard.press("Home")
    expect(page.locator("[data-part=which]")).to_have_text("instance 1")
    ds = looked.sent.ct[0]
    page.keyboard.press("3")
    page.keyboard.press("o")
    expected = window(looked.values_of(ds), ds.WindowCenter, ds.WindowWidth)
    assert np.abs(pixels(page, "main", expected.shape) - expected).max() <= 1


def test_frames_of_one_object_are_scrolled_with_their_oblong_pixels(page: Page, looked: Looked) -> None:
    choose(page, "4: Cine")
    expect(page.locator("[data-part=position]")).to_have_text("3 of 6")
    expect(page.locator("[data-part=made]")).to_be_disabled()
    page.keyboard.press("n")
    expect(page.locator("[data-part=which]")).to_have_text("instance 1, frame 4")
    page.keyboard.press("o")
    seen = pixels(page, "main", (128, 64))
    ds = looked.sent.frames
    expected = window(looked.values_of(ds, 3), ds.WindowCenter, ds.WindowWidth)
    assert np.abs(seen[::2] - expected).max() <= 1
    assert np.abs(seen[1::2] - expected).max() <= 1


def test_what_was_removed_has_its_own_scale(page: Page, looked: Looked) -> None:
    ds = looked.sent.ct[1]
    page.keyboard.press("o")
    removed = looked.values_of(ds) - looked.denoised_of(ds)
    page.locator("[data-part=scale]").fill("40")
    page.keyboard.press("Enter")
    expected = np.clip(removed / 40, -1, 1) * 127.5 + 127.5
    assert np.abs(pixels(page, "removed", removed.shape) - expected).max() <= 1
    page.locator("canvas[data-pane=main]").focus()
    page.keyboard.press("u")
    settle(page)
    job = looked.job_of(ds)
    sigma = NoiseModel.from_json(job.noise).sigma_at(looked.denoised_of(ds))
    expected = np.clip(removed / sigma / 3, -1, 1) * 127.5 + 127.5
    assert np.abs(pixels(page, "removed", removed.shape) - expected).max() <= 1
    expect(page.locator("[data-part=overlayScale]")).to_have_text("± 3 σ")


def test_numbers_under_a_rectangle_are_those_of_numpy(page: Page, looked: Looked) -> None:
    ds = looked.sent.ct[1]
    page.keyboard.press("2")
    page.keyboard.press("o")
    draw_rectangle(page, 40, 30, 77, 64)
    measured = page.locator("[data-measures]")
    expect(measured).to_contain_text("37 × 34 pixels at column 40, row 30; values in HU.")
    before, after = (
        values[30:64, 40:77].astype(float) for values in (looked.values_of(ds), looked.denoised_of(ds))
    )
    for name, values in (("before", before), ("after", after)):
        told = [
            float(measured.get_attribute(f"data-{name}-{what}") or "nan") for what in ("mean", "deviation")
        ]
        assert told == pytest.approx([values.mean(), values.std(ddof=1)], rel=1e-9)
    assert page.locator("[data-rows] tr").count() == 4
    ratio = page.locator("[data-rows] tr").last.locator("td").last.inner_text()
    assert float(ratio) == pytest.approx(after.std(ddof=1) / before.std(ddof=1), rel=1e-3)


def test_the_spectrum_is_that_of_numpy(page: Page, looked: Looked) -> None:
    rng = np.random.default_rng(0)
    spacing = (0.25, 0.2)
    y, x = np.mgrid[0:70, 0:100]
    values = rng.normal(0, 5, (70, 100)) + 0.3 * x - 0.01 * y**2
    told = page.evaluate(
        """async ([values, width, height, spacing]) => {
          const { radial, spectrum } = await import("/static/look/nps.js");
          const found = spectrum(values, width, height, spacing);
          return { ...found, power: Array.from(found.power), ...radial(found, spacing) };
        }""",
        [values.ravel().tolist(), 100, 70, list(spacing)],
    )
    assert (told["side"], told["squares"]) == (64, 2)
    expected = spectrum(values, spacing, 64)
    assert np.allclose(np.reshape(told["power"], (64, 64)), expected, rtol=1e-6, atol=1e-9)
    v, u = np.fft.fftfreq(64, spacing[0])[:, None], np.fft.fftfreq(64, spacing[1])[None, :]
    width = 1 / (64 * spacing[1])
    ring = np.rint(np.hypot(u, v) / width).astype(int)
    assert np.allclose(told["frequency"], np.arange(1, len(told["frequency"]) + 1) * width)
    assert told["frequency"][-1] == pytest.approx(2.0, abs=width)
    radial = [expected[ring == number].mean() for number in range(1, len(told["frequency"]) + 1)]
    assert np.allclose(told["average"], radial, rtol=1e-6)
    step = 1 / (64 * spacing[0]) / (64 * spacing[1])
    assert np.sum(told["power"]) * step == pytest.approx(25, rel=0.1)


def test_the_chart_shows_the_spectra_of_both(page: Page) -> None:
    page.keyboard.press("c")
    expect(page.locator("[data-chart] canvas")).to_be_visible()
    expect(page.locator("[data-nps-note]")).to_contain_text("of 32 × 32 pixels")
    expect(page.locator("[data-chart]")).to_contain_text("Denoised")
    page.locator("[data-logarithmic]").check()
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []
    expect(page.locator("[data-chart] canvas")).to_be_visible()


def test_live_strength_is_what_the_node_would_make(page: Page, looked: Looked) -> None:
    ds = looked.sent.ct[1]
    page.keyboard.press("3")
    page.keyboard.press("o")
    page.locator("[data-part=strength]").fill("35")
    expect(page.locator("[data-part=strengthNote]")).to_contain_text("blended here", timeout=180_000)
    image = open_image(files.open_object(looked.path_of(ds)))
    decoded = decode_run(image, 0, 1)
    job = looked.job_of(ds)
    noise = NoiseModel.from_json(job.noise)
    denoiser = open_denoiser(find_bundle(job.model), device="cpu", threads=2)
    for percent in (35, 100, 80):
        page.locator("[data-part=strength]").fill(str(percent))
        page.wait_for_function(
            "s => Number(document.querySelector('#look').dataset.strength) === s", arg=percent / 100
        )
        made = denoiser.denoise(decoded.values, decoded.keep, noise=noise, strength=percent / 100)
        stored = encode(made, decoded)[0].astype(np.int64) - 1024
        set_window(page, 40, 256)
        expected = window(stored.astype(np.float32), 40, 256)
        seen = pixels(page, "second", stored.shape)
        # A value that lies between two whole ones may be rounded to the other of them.
        assert np.abs(seen - expected).max() <= 2
        assert (np.abs(seen - expected) > 0.6).mean() < 0.01
    page.locator("[data-part=asStored]").click()
    expected = window(looked.denoised_of(ds), 40, 256)
    assert np.abs(pixels(page, "second", expected.shape) - expected).max() <= 1


def test_a_blend_is_exact_to_a_hundredth_of_the_noise(page: Page, looked: Looked) -> None:
    """The same formula in the browser, before it is rounded to stored values."""
    ds = looked.sent.cr
    page.locator("[data-part=series]").select_option(label="3: Knee AP")
    (pair,) = [pair for pair in looked.pairs.pairs if pair.derived.Modality == "CR"]
    url = f"{looked.url}/previews/{pair.original_id}/0/{pair.job_id}"
    told = page.evaluate(
        """async ([url, values]) => {
          const { blend } = await import("/static/look/blend.js");
          const { unpack } = await import("/static/look/frames.js");
          let response = await fetch(url);
          while (response.status === 202) {
            await new Promise((resume) => setTimeout(resume, 300));
            response = await fetch(url);
          }
          const preview = unpack(await response.arrayBuffer());
          const x = Float32Array.from(values);
          return [0.05, 0.4, 1].map((s) => Array.from(blend(x, preview, s)));
        }""",
        [url, looked.values_of(ds).ravel().tolist()],
    )
    decoded = decode_run(open_image(files.open_object(looked.path_of(ds))), 0, 1)
    job = looked.pairs.jobs[pair.job_id]
    noise = NoiseModel.from_json(job.noise)
    denoiser = open_denoiser(find_bundle(job.model), device="cpu", threads=2)
    for strength, blended in zip((0.05, 0.4, 1.0), told, strict=True):
        made = denoiser.denoise(decoded.values, decoded.keep, noise=noise, strength=strength)
        error_sigma = np.abs(np.reshape(blended, made.shape) - made) / noise.sigma_at(made)
        assert error_sigma.max() < 0.01


def test_undecodable_pixels_are_told_in_words(page: Page) -> None:
    choose_broken = page.locator("[data-part=series]")
    choose_broken.select_option(label="5: Broken")
    trouble = page.locator("[data-part=trouble]")
    expect(trouble).to_be_visible()
    expect(trouble).to_contain_text("compressed frame")
    choose(page, "1: Head 5.0")
    expect(trouble).to_be_hidden()


def test_a_viewer_is_written_to_the_audit_trail_once(looked: Looked) -> None:
    trail = looked.console.settings.node.spool.parent / "audit.xml"
    image = looked.pairs.originals[0].id
    with looked.console.client(Role.OPERATOR) as client:
        for frame in (0, 0, 7):
            client.get(f"{looked.url}/frames/{image}/{frame}")
    with looked.console.client() as stranger:
        assert stranger.get(f"{looked.url}/frames/{image}/0").status_code == 401

    def lines() -> list[str]:
        found = [line for line in trail.read_text().splitlines() if 'csd-code="110103"' in line]
        return [line for line in found if 'UserID="operator"' in line]

    until(lines)
    (line,) = lines()
    assert 'EventActionCode="R"' in line
    assert looked.sent.study.uid in line
    assert looked.sent.study.patient_id not in line or "PHANTOM" in line


def test_frames_are_kept_by_the_browser_under_their_digest(looked: Looked) -> None:
    image = looked.pairs.originals[0]
    with looked.console.client(Role.VIEWER) as client:
        first = client.get(f"{looked.url}/frames/{image.id}/0")
        assert first.headers["content-type"] == "application/vnd.dae-pacs.frame"
        again = client.get(
            f"{looked.url}/frames/{image.id}/0", headers={"If-None-Match": first.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/studies/999/look",
        "/studies/999/look/pairs",
        "{url}/frames/999/0",
        "/studies/99999999999999999999/look",
    ],
)
def test_what_is_not_there_is_said_to_be(looked: Looked, path: str) -> None:
    with looked.console.client(Role.VIEWER) as client:
        answer = client.get(path.format(url=looked.url))
    assert answer.status_code == 404
    assert "Traceback" not in answer.text


def test_an_image_that_was_deleted_meanwhile_is_said_to_be(page: Page, looked: Looked) -> None:
    path = looked.path_of(looked.sent.dx)
    moved = path.rename(path.with_suffix(".gone"))
    try:
        page.locator("[data-part=series]").select_option(label="2: Knee AP")
        expect(page.locator("[data-part=trouble]")).to_contain_text("deleted meanwhile")
    finally:
        moved.rename(path)
