"""A real Orthanc with its DICOMweb plug-in, and objects to move about."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset

from dae_pacs.demo.orthanc import Orthanc, find_orthanc
from dae_pacs.demo.phantoms import Study, ct_series, write_all

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def web_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for a module, with DICOMweb at /dicom-web/."""
    if find_orthanc() is None or not PLUGIN.exists():
        pytest.skip("Debian's orthanc-dicomweb is not installed")
    options = {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with Orthanc(tmp_path_factory.mktemp("orthanc"), options=options) as orthanc:
        yield orthanc


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Four small CT slices of a study of their own, as files."""
    objects: list[Dataset] = ct_series(Study(), slices=4, size=32)
    return write_all(objects, tmp_path)
