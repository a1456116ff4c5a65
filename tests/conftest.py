"""Fixtures that more than one folder of tests uses: real parts, started on loopback, ended with the test."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dae_pacs.demo.orthanc import NodeAddress, Orthanc, Routing, find_orthanc

sys.path.insert(0, str(Path(__file__).parent))  # for this folder's own module

from authority import Authority

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

StartOrthanc = Callable[..., Orthanc]


@pytest.fixture
def start_orthanc(tmp_path: Path) -> Iterator[StartOrthanc]:
    """Start real Orthancs: `start_orthanc(node=NodeAddress("DAE_PACS", port), routing=Routing.ORIGINALS)`."""
    if find_orthanc() is None:
        pytest.skip("Debian's orthanc is not installed")
    with ExitStack() as running:
        count = 0

        def start(
            *, node: NodeAddress | None = None, routing: Routing = Routing.NONE, **options: object
        ) -> Orthanc:
            nonlocal count
            count += 1
            orthanc = Orthanc(tmp_path / f"orthanc-{count}", node=node, routing=routing, options=options)
            return running.enter_context(orthanc)

        yield start


@pytest.fixture
def orthanc(start_orthanc: StartOrthanc) -> Orthanc:
    """One Orthanc that routes nothing."""
    return start_orthanc()


@pytest.fixture(scope="module")
def web_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for a module, with its DICOMweb plug-in at /dicom-web/."""
    if find_orthanc() is None or not DICOMWEB_PLUGIN.exists():
        pytest.skip("Debian's orthanc-dicomweb is not installed")
    options = {"Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with Orthanc(tmp_path_factory.mktemp("orthanc"), options=options) as orthanc:
        yield orthanc


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that everyone trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"), "Stranger CA")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Put logging back as it was after a test that configures it."""
    root, names = logging.getLogger(), ("dae_pacs", "pydicom", "py.warnings", "pynetdicom", "monai", "PIL")
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder ../shared/data, or skip where it is not."""
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED_DATA
