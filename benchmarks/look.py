"""Measure how long the Look page takes from a new window, or a new strength, to what is seen.

    python benchmarks/look.py

A radiograph of 3000x2500 pixels and 16 bits, in headless Chromium without a GPU, by the page's own modules.
The time ends when the canvas can be read back, so that no drawing is left for later.
"""

import functools
import http.server
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright
from results import record

STATIC = Path(__file__).resolve().parents[1] / "dae_pacs" / "web" / "static"
CHANGES = 20
PROGRAM = Path(__file__).with_name("look.js")


@contextmanager
def served() -> Iterator[str]:
    """Serve the console's static files on a free port of the loopback."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing of each request."""

    handler = functools.partial(Silent, directory=str(STATIC))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/icon.svg"
        server.shutdown()


def main() -> None:
    with served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url.replace("icon.svg", "look/"))
        taken: dict[str, list[float]] = page.evaluate(PROGRAM.read_text(), CHANGES)
        browser.close()
    for name, words in (
        ("one", "a new window on one radiograph"),
        ("both", "a new window on original and denoised, divided by the wipe"),
        ("blend", "another strength, until it can be drawn"),
    ):
        quartiles = statistics.quantiles(taken[name], n=4)
        row = {
            "id": f"look_{name}_ms",
            "value": round(statistics.median(taken[name]), 1),
            "unit": "ms",
            "spread": [round(quartiles[0], 1), round(quartiles[2], 1)],
            "note": f"Look page, {words}: 3000x2500 of 16 bits, headless Chromium without a GPU, 2D canvas",
        }
        print(row["id"], row["value"], row["spread"])
        record([row])


if __name__ == "__main__":
    main()
