"""A study goes in; a denoised series comes back: with a real modality, a real PACS, a real node.

The PACS of these tests routes everything that it stores to the node, our own results included.
"""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.noise.estimate import flat_sigma

pytestmark = [pytest.mark.pacs, pytest.mark.slow]


@pytest.fixture(scope="module")
def study() -> Study:
    return Study()


@pytest.fixture(scope="module")
def sources(study, tmp_path_factory) -> list[Path]:
    """CT, CR and DX of one patient, as files."""
    objects = [
        *ct_series(study, slices=3),
        radiograph(study, "CR", series_number=3),
        radiograph(study, "DX", series_number=4),
    ]
    return write_all(objects, tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def derived(hospital, study, sources) -> list[Dataset]:
    """What stands in the PACS after the modality stored the study there and the PACS routed it to us."""
    hospital.modality_sends(*sources, to_pacs=True)
    hospital.await_derived(study, len(sources))
    hospital.settle()
    hospital.pacs_is_quiet()
    return hospital.derived(study)


def test_each_image_gets_one_derived_object(hospital, study, sources, derived):
    wanted = {str(dcmread(path).SOPInstanceUID) for path in sources}
    assert {ds.SourceImageSequence[0].ReferencedSOPInstanceUID for ds in derived} == wanted
    assert len(derived) == len(sources)


def test_pacs_that_routes_everything_makes_no_loop(hospital, study, sources, derived):
    assert hospital.jobs(study) == 3, "one job for each of the three series, none for our own results"
    hospital.pacs_is_quiet()
    assert len(hospital.derived(study)) == len(derived)


def test_derived_object_stands_beside_its_source(sources, derived):
    originals = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, sources)}
    for ds in derived:
        source = originals[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        same = ["PatientName", "PatientID", "StudyInstanceUID", "SOPClassUID", "Modality", "InstanceNumber"]
        assert [ds.get(key) for key in same] == [source.get(key) for key in same]
        assert ds.get("ImagePositionPatient") == source.get("ImagePositionPatient")
        assert (ds.WindowCenter, ds.WindowWidth) == (source.WindowCenter, source.WindowWidth)
        assert ds.SeriesInstanceUID != source.SeriesInstanceUID
        assert ds.SeriesDescription.startswith(f"{source.SeriesDescription} denoised")


def test_derived_object_has_less_noise(sources, derived):
    originals = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, sources)}
    for ds in derived:
        source = originals[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        before, after = (flat_sigma(one.pixel_array.astype(np.float32)) for one in (source, ds))
        assert after < 0.75 * before, f"{ds.Modality}: {before:.1f} before, {after:.1f} after"


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
def test_dciodvfy_is_as_silent_as_about_the_sources(derived, tmp_path):
    for ds in derived:
        path = tmp_path / "derived.dcm"
        ds.save_as(path, enforce_file_format=True)
        verdict = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        said = [line for line in verdict.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        assert said == [], ds.Modality


def test_study_sent_twice_is_derived_once(hospital, tmp_path):
    study = Study()
    paths = write_all(ct_series(study, slices=3), tmp_path)
    hospital.modality_sends(*paths)
    first = hospital.await_derived(study, 3)
    hospital.modality_sends(*paths)
    hospital.settle()
    again = hospital.derived(study)
    assert sorted(ds.SOPInstanceUID for ds in again) == sorted(ds.SOPInstanceUID for ds in first)
    assert hospital.jobs(study) == 1


def test_late_image_joins_the_derived_series(hospital, tmp_path):
    study = Study()
    paths = write_all(ct_series(study, slices=4), tmp_path)
    hospital.modality_sends(*paths[:3])
    hospital.await_derived(study, 3)
    hospital.settle()
    hospital.modality_sends(paths[3])
    derived = hospital.await_derived(study, 4)
    assert len({ds.SeriesInstanceUID for ds in derived}) == 1
    assert len({ds.SeriesNumber for ds in derived}) == 1
    assert hospital.jobs(study) == 1


def test_what_we_cannot_denoise_is_accepted_and_told(hospital):
    for name in ("test-SR.dcm", "examples_rgb_color.dcm"):
        path = Path(get_testdata_file(name, download=False))
        hospital.modality_sends(path)
        fate = hospital.fate(str(dcmread(path, stop_before_pixels=True).SOPInstanceUID))
        assert fate.status.value == "passed_over"
        assert fate.reason, "the ledger says why"
        assert fate.rule == "images"
