"""The pages that can be worked through are: in order, in one folder, with a real Orthanc and a real node."""

import shutil
from collections.abc import Iterator

import pytest
from pages import RUN_IN_ORDER
from reader import PORTS, Reader
from snippets import ROOT, snippets_of

from dae_pacs.demo.orthanc import find_orthanc, free_port

pytestmark = [pytest.mark.pacs, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    if find_orthanc() is None or shutil.which("storescu") is None:
        pytest.skip("Debian's orthanc and dcmtk are not installed")
    person = Reader(tmp_path_factory.mktemp("home"), ports={port: str(free_port()) for port in PORTS})
    yield person
    person.close()


@pytest.mark.parametrize("page", RUN_IN_ORDER)
def test_a_reader_gets_what_the_page_shows(page: str, reader: Reader) -> None:
    for snippet in snippets_of(ROOT / "docs" / page):
        reader.take(snippet)
