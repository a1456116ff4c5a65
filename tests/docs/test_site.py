"""The documentation's site: it builds without a warning, its links lead somewhere, nothing is fetched."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
ASSETS = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """What one page of the site points to, and the places in it that may be pointed to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if value is None:
                continue
            if name == "id":
                self.places.add(value)
            elif (tag, name) in ASSETS:
                self.assets.append(value)
            elif (tag, name) == ("a", "href"):
                self.links.append(value)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-W", "--keep-going", "--quiet", "-b", "html"),
            *("-c", "docs", "-d", str(folder / "trees"), ".", str(folder / "pages")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert built.returncode == 0, f"a warning of Sphinx is an error:\n{built.stderr}"
    pages = (folder / "pages").rglob("*.html")
    return {path: Page(path.read_text()) for path in pages}


def test_links_of_the_site_lead_to_pages_and_places_that_there_are(site: dict[Path, Page]) -> None:
    lost = []
    for path, page in site.items():
        for link in [*page.links, *page.assets]:
            url = urlsplit(link)
            if url.scheme:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            place = unquote(url.fragment)
            found = target.is_file() and (not place or target not in site or place in site[target].places)
            if not found:
                lost.append(f"{path.name}: {link}")
    assert not lost


def test_links_to_the_outside_are_whole_urls(site: dict[Path, Page]) -> None:
    links = {link for page in site.values() for link in page.links if urlsplit(link).scheme}
    here = {link for link in links if link.startswith("http://127.0.0.1:")}  # the reader's own machine
    assert not [link for link in links - here if not re.fullmatch(r"https://[\w.-]+\.[a-z]+(/\S*)?", link)]


def test_nothing_of_the_site_is_loaded_from_elsewhere(site: dict[Path, Page]) -> None:
    assert not [link for page in site.values() for link in page.assets if urlsplit(link).netloc]
    sheets = [sheet for path in site for sheet in path.parent.glob("_static/**/*.css")]
    assert sheets
    assert not [
        sheet for sheet in sheets if "url(http" in sheet.read_text() or "@import" in sheet.read_text()
    ]


def test_its_first_page_and_its_search_work_from_files_alone(site: dict[Path, Page]) -> None:
    (first,) = [path for path in site if path.name == "index.html" and path.parent.name == "pages"]
    assert site[first].links == ["docs/index.html"]
    index = (first.parent / "searchindex.js").read_text()  # a script, not a request: file:// will do
    assert index.startswith("Search.setIndex(")
    assert '"docs/orthanc"' in index
