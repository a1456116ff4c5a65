"""A day at the console: a real modality, a real PACS, a real node, and a person with a browser.

Screenshots are kept in out/screenshots/, to be looked at.
"""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Error, Page, expect, sync_playwright
from pydicom.data import get_testdata_file

from dae_pacs.demo.node_process import NodeProcess
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, Routing, find_orthanc, free_port
from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all

pytestmark = [pytest.mark.pacs, pytest.mark.slow]

CHROMIUM = Path("/usr/bin/chromium")
SHOTS = Path(__file__).parents[2] / "out" / "screenshots"
PASSWORD = "correct horse battery staple"
PATIENCE_MS = 90_000
CONFIGURATION = """
[node]
port = {port}
spool = "spool"
quiet_s = 0.5
accept = "anyone"
minimum_free_mb = 10

[web]
port = {web_port}

[delivery]
breaker_after = 1

[peers.pacs]
ae_title = "ORTHANC"
host = "127.0.0.1"
port = {pacs_port}
connect_timeout_s = 2
dimse_timeout_s = 5

[[rules]]
name = "images"
when = {{ Modality = ["CT", "CR", "DX"] }}
destinations = ["pacs"]

[[rules]]
name = "rest"
action = "keep"
"""


@pytest.fixture(scope="module")
def pacs_and_node(tmp_path_factory):
    if find_orthanc() is None or not CHROMIUM.exists():
        pytest.skip("Debian's orthanc and chromium are not installed")
    folder = tmp_path_factory.mktemp("console")
    port, web_port = free_port(), free_port()
    pacs = Orthanc(folder / "pacs", node=NodeAddress("DAE_PACS", port), routing=Routing.NONE)
    configuration = CONFIGURATION.format(port=port, web_port=web_port, pacs_port=pacs.port)
    node = NodeProcess(folder / "node", configuration, ae_title="DAE_PACS", port=port)
    with pacs, node:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "dae_pacs",
                "accounts",
                "add",
                "maria",
                "--role",
                "operator",
                "--password-stdin",
            ],
            cwd=node.folder,
            input=PASSWORD,
            text=True,
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield pacs, node, f"http://127.0.0.1:{web_port}"


@pytest.fixture(scope="module")
def page(pacs_and_node):
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        context = browser.new_context(base_url=pacs_and_node[2], viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        expect.set_options(timeout=5000)
        browser.close()


def store(node: NodeProcess, *paths: Path) -> None:
    """Send files as a modality would, with DCMTK's storescu."""
    to = ["127.0.0.1", str(node.address.port)]
    command = ["storescu", "-R", "-aet", "CT_ROOM1", "-aec", "DAE_PACS", *to, *map(str, paths)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def shoot(page: Page, name: str) -> None:
    page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


def test_a_study_arrives_live(pacs_and_node, page, tmp_path):
    pacs, node, _url = pacs_and_node
    log_in(page)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.locator("#live-state")).to_have_text("live")
    page.evaluate("window.isSamePage = true")
    store(node, *write_all(ct_series(Study(), slices=4), tmp_path))
    latest = page.locator("#latest")
    expect(latest).to_contain_text("4 images")
    expect(latest.locator(".badge").first).to_have_text("delivered")
    assert page.evaluate("window.isSamePage") is True, "nobody loaded the page again"
    assert len(pacs.rest.instances()) == 4
    shoot(page, "overview")


def test_original_and_denoised_are_compared(page):
    page.goto("/")
    page.locator("#latest a").first.click()
    page.get_by_role("link", name="Look", exact=True).click()
    expect(page.locator("#look")).to_have_attribute("aria-busy", "false")
    canvas = page.locator("canvas[data-pane=main]")
    seen = canvas.screenshot()
    page.get_by_label("Wipe: original to the left of it").fill("90")
    page.get_by_label("Width").fill("80")
    page.get_by_label("Width").press("Enter")
    page.wait_for_timeout(300)  # drawn with the next frames of the screen
    assert canvas.screenshot() != seen
    shoot(page, "look")


def test_a_failed_delivery_is_retried_from_the_page(pacs_and_node, page, tmp_path):
    pacs, node, _url = pacs_and_node
    page.goto("/")
    pacs.stop()
    (path,) = write_all([radiograph(Study(), "CR", series_number=2)], tmp_path)
    store(node, path)
    expect(page.locator("#destinations")).to_contain_text(re.compile("failed|failing"))
    shoot(page, "overview-trouble")
    page.get_by_role("link", name="Studies", exact=True).click()
    page.get_by_label("State").select_option("waiting")
    row = page.locator("#found tbody tr")
    expect(row).to_have_count(1)
    shoot(page, "studies")
    row.get_by_role("link").click()
    line = page.locator(".line")
    expect(line).to_contain_text("from CT_ROOM1 (127.0.0.1)")
    expect(line).to_contain_text("waiting for pacs")
    line.get_by_text("Why?").first.click()
    expect(line).to_contain_text('rule 1 "images" matches: Modality is "CR"')
    shoot(page, "story-waiting")

    pacs.start()
    page.get_by_role("button", name="Retry…").click()
    dialog = page.get_by_role("dialog", name="Try again what failed?")
    expect(dialog).to_contain_text("are sent at once")
    shoot(page, "story-retry")
    dialog.get_by_role("button", name="Retry").click()
    expect(line).to_contain_text("pacs has 1 derived object")
    expect(line).to_contain_text("maria at the console")
    shoot(page, "story-delivered")


def test_a_rule_is_tried_on_a_file(page):
    page.goto("/rules")
    page.get_by_label("DICOM file").set_input_files(get_testdata_file("CT_small.dcm", download=False))
    page.get_by_label("Sent by").fill("CT_ROOM2")
    page.get_by_role("button", name="Try").click()
    expect(page.locator("#tried")).to_contain_text("Would be denoised with xray_radiograph_denoising")
    shoot(page, "rules")


def test_a_model_says_what_it_is_for(page):
    page.goto("/models")
    page.get_by_role("link", name="xray_radiograph_denoising").click()
    expect(page.get_by_text("not a medical device").first).to_be_visible()
    shoot(page, "model")


def log_in(page: Page) -> None:
    wait_for_console(page)
    page.get_by_label("Name").fill("maria")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def wait_for_console(page: Page) -> None:
    """The console starts beside the node, a few seconds behind it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            page.goto("/")
        except Error:
            assert time.monotonic() < deadline, "no console"
            time.sleep(0.2)
        else:
            return
