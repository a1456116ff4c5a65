"""A study goes in; a denoised series comes back: with a real modality, a real PACS, a real node."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from dae_pacs.demo.orthanc import Routing
from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.noise.estimate import flat_sigma

pytestmark = [pytest.mark.pacs, pytest.mark.slow]


def uids(objects: list[Dataset]) -> list[str]:
    return sorted(str(ds.SOPInstanceUID) for ds in objects)


def a_study(folder: Path) -> list[Path]:
    """CT, CR and DX of one patient, as files."""
    study = Study()
    objects = [
        *ct_series(study, slices=3),
        radiograph(study, "CR", series_number=3),
        radiograph(study, "DX", series_number=4),
    ]
    return write_all(objects, folder)


def test_routed_study_gets_derived_series_under_the_same_study(open_hospital, tmp_path):
    hospital = open_hospital(Routing.ORIGINALS)
    paths = a_study(tmp_path / "study")
    sources = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, paths)}
    hospital.modality_sends(*paths, to_pacs=True)
    derived = hospital.await_derived(len(paths))
    hospital.settle()
    assert len(hospital.derived()) == len(paths), "each derived object stands in the PACS once"
    for ds in derived:
        source = sources[ds.SourceImageSequence[0].ReferencedSOPInstanceUID]
        assert ds.StudyInstanceUID == source.StudyInstanceUID
        assert ds.PatientName == source.PatientName
        assert ds.SOPClassUID == source.SOPClassUID
        assert ds.SeriesInstanceUID != source.SeriesInstanceUID
        assert ds.WindowCenter == source.WindowCenter
        assert flat_sigma(ds.pixel_array.astype(np.float32)) < 0.75 * flat_sigma(
            source.pixel_array.astype(np.float32)
        )


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="Debian's dicom3tools is not installed")
def test_dciodvfy_accepts_every_derived_object(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = a_study(tmp_path / "study")
    hospital.modality_sends(*paths)
    derived = hospital.await_derived(len(paths))
    for ds in derived:
        path = tmp_path / "derived.dcm"
        ds.save_as(path, enforce_file_format=True)
        verdict = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        said = [line for line in verdict.stderr.splitlines() if line.startswith(("Error", "Warning"))]
        assert said == [], f"{ds.Modality}: the sources are silent, so must be what we derive"


def test_pacs_that_routes_everything_makes_no_loop(open_hospital, tmp_path):
    hospital = open_hospital(Routing.EVERYTHING)
    paths = write_all(ct_series(Study(), slices=3), tmp_path / "study")
    hospital.modality_sends(*paths, to_pacs=True)
    derived = hospital.await_derived(len(paths))
    hospital.settle()
    jobs_before = hospital.jobs()
    hospital.pacs_is_quiet()
    assert uids(hospital.derived()) == uids(derived)
    assert hospital.jobs() == jobs_before == 1
    assert hospital.pacs.rest.count_instances() == 2 * len(paths)


def test_study_sent_twice_is_derived_once(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = write_all(ct_series(Study(), slices=3), tmp_path / "study")
    hospital.modality_sends(*paths)
    first = hospital.await_derived(len(paths))
    hospital.modality_sends(*paths)
    hospital.settle()
    assert uids(hospital.derived()) == uids(first)
    assert hospital.jobs() == 1


def test_late_image_joins_the_derived_series(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = write_all(ct_series(Study(), slices=4), tmp_path / "study")
    hospital.modality_sends(*paths[:3])
    hospital.await_derived(3)
    hospital.settle()
    hospital.modality_sends(paths[3])
    derived = hospital.await_derived(4)
    assert len({ds.SeriesInstanceUID for ds in derived}) == 1
    assert len({ds.SeriesNumber for ds in derived}) == 1
    assert hospital.jobs() == 1


def test_killed_node_delivers_everything_once_after_restart(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = write_all(ct_series(Study(), slices=6, size=256), tmp_path / "study")
    hospital.modality_sends(*paths)  # storescu fails the test unless each was answered with 0x0000
    hospital.node.kill()
    hospital.node.start()
    hospital.await_derived(len(paths))
    hospital.settle()
    assert len(uids(hospital.derived())) == len(set(uids(hospital.derived()))) == len(paths)


def test_node_killed_in_mid_job_goes_on_where_it_was(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = write_all(ct_series(Study(), slices=8, size=512), tmp_path / "study")
    hospital.modality_sends(*paths)
    hospital.await_derived(2)
    hospital.node.kill()
    hospital.node.start()
    hospital.await_derived(len(paths))
    hospital.settle()
    assert len(hospital.derived()) == len(paths)
    assert hospital.pacs.rest.count_instances() == len(paths), "the originals stay with the modality"


def test_pacs_that_was_down_gets_what_it_lacks_and_nothing_twice(open_hospital, tmp_path):
    hospital = open_hospital()
    first = write_all(ct_series(Study(), slices=2), tmp_path / "first")
    hospital.modality_sends(*first)
    hospital.await_derived(2)
    hospital.settle()
    hospital.pacs.stop()
    second = write_all(ct_series(Study(patient_id="PHANTOM-2"), slices=3), tmp_path / "second")
    hospital.modality_sends(*second)
    hospital.wait_until_owed(3)
    hospital.pacs.start()
    hospital.await_derived(5)
    hospital.settle()
    tries = hospital.tries_of_delivered()
    assert len(tries) == 5
    assert tries[-2:] == [1, 1], "what was delivered before is not sent again"
    assert all(count > 1 for count in tries[:3]), "what found the PACS down was tried again"


def test_what_we_cannot_denoise_is_accepted_and_told(open_hospital):
    hospital = open_hospital()
    report = Path(get_testdata_file("test-SR.dcm", download=False))
    colour = Path(get_testdata_file("examples_rgb_color.dcm", download=False))
    hospital.modality_sends(report, colour)
    reasons = hospital.reasons()
    assert len(reasons) == 2
    assert all(reasons)
    assert hospital.jobs() == 0


def test_sigterm_stops_cleanly_and_requeues_the_work(open_hospital, tmp_path):
    hospital = open_hospital()
    paths = write_all(ct_series(Study(), slices=6, size=256), tmp_path / "study")
    hospital.modality_sends(*paths)
    assert hospital.node.stop() == 0
    assert "Traceback" not in hospital.node.log_path.read_text()
    hospital.node.start()
    hospital.await_derived(len(paths))
