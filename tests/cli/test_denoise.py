"""`dae-pacs denoise`: whatever a person points it at, with the shipped model."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.noise.estimate import flat_sigma


def denoise(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dae_pacs", "denoise", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def noisy_picture() -> np.ndarray:
    return radiograph(Study(), "CR", rows=256, columns=192).pixel_array


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """One folder of everything, denoised by one command: starting the model takes seconds."""
    root = tmp_path_factory.mktemp("mixed")
    source, output = root / "in", root / "out"
    write_all(ct_series(Study(), slices=3, size=128), source / "ct")
    picture = noisy_picture()
    (source / "clinic").mkdir()
    Image.fromarray((picture // 16).astype(np.uint8)).save(source / "clinic" / "tooth.jpg", quality=95)
    Image.fromarray((picture * 16).astype(np.uint16)).save(source / "deep.png")
    Image.fromarray((picture // 16).astype(np.uint8)).save(source / "film.tiff")
    sitk.WriteImage(
        sitk.GetImageFromArray(picture[np.newaxis].astype(np.int16)), str(source / "volume.nii.gz")
    )
    (source / "report.dcm").write_bytes(Path(get_testdata_file("test-SR.dcm", download=False)).read_bytes())
    (source / "notes.txt").write_text("not an image")
    return source, output, denoise(source, "--output", output, "--side-by-side")


def test_mixed_folder_is_denoised_and_accounted_for(mixed):
    _, output, result = mixed
    assert result.returncode == 0, result.stderr
    written = sorted(
        str(p.relative_to(output)) for p in output.rglob("*") if not p.name.endswith("comparison.png")
    )
    images = [
        "ct/CT2-0001.dcm",
        "ct/CT2-0002.dcm",
        "ct/CT2-0003.dcm",
        "clinic/tooth.jpg",
        "deep.png",
        "film.tiff",
    ]
    assert set(written) >= {*images, "volume.nii.gz"}
    assert "report.dcm" in result.stdout
    assert "notes.txt" in result.stdout


def test_dicom_becomes_a_derived_series(mixed):
    source, output, _ = mixed
    before = [dcmread(path) for path in sorted((source / "ct").iterdir())]
    after = [dcmread(path) for path in sorted((output / "ct").glob("*.dcm"))]
    assert {ds.ImageType[0] for ds in after} == {"DERIVED"}
    assert len({ds.SeriesInstanceUID for ds in after}) == 1
    assert {ds.StudyInstanceUID for ds in after} == {before[0].StudyInstanceUID}
    for old, new in zip(before, after, strict=True):
        assert new.ImagePositionPatient == old.ImagePositionPatient
        assert flat_sigma(new.pixel_array.astype(np.float32)) < flat_sigma(old.pixel_array.astype(np.float32))


@pytest.mark.parametrize(
    ("name", "format_", "dtype"),
    [("clinic/tooth.jpg", "JPEG", np.uint8), ("deep.png", "PNG", np.uint16), ("film.tiff", "TIFF", np.uint8)],
)
def test_picture_keeps_its_format_and_depth_and_loses_noise(mixed, name, format_, dtype):
    source, output, _ = mixed
    with Image.open(source / name) as before, Image.open(output / name) as after:
        assert (after.format, after.size, after.mode) == (format_, before.size, before.mode)
        old, new = np.array(before), np.array(after)
    assert new.dtype == old.dtype == dtype
    assert flat_sigma(new.astype(np.float32)) < flat_sigma(old.astype(np.float32))
    assert abs(float(new.mean()) - float(old.mean())) < 0.005 * float(old.mean()), "brightness stays"


def test_comparison_pictures_stand_beside_the_results(mixed):
    _, output, _ = mixed
    assert (output / "deep.png.comparison.png").is_file()
    assert (output / "ct" / "CT2-0001.dcm.comparison.png").is_file()


def test_strength_zero_gives_the_pixels_back(tmp_path):
    paths = write_all(ct_series(Study(), slices=1, size=64), tmp_path / "in")
    assert denoise(*paths, "--output", tmp_path / "out", "--strength", "0").returncode == 0
    before, after = dcmread(paths[0]), dcmread(tmp_path / "out" / paths[0].name)
    assert np.array_equal(before.pixel_array, after.pixel_array)
    assert before.SOPInstanceUID != after.SOPInstanceUID


def test_truncated_file_fails_by_name_and_the_others_are_done(tmp_path):
    paths = write_all(ct_series(Study(), slices=2, size=64), tmp_path / "in")
    paths[0].write_bytes(paths[0].read_bytes()[:-1000])
    result = denoise(tmp_path / "in", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert paths[0].name in result.stderr
    assert (tmp_path / "out" / paths[1].name).is_file()


@pytest.mark.parametrize(
    ("inputs", "options", "words"),
    [
        (["empty"], [], "empty"),
        (["missing.dcm"], [], "missing.dcm"),
        (["in"], ["--model", "no_such_model"], "no_such_model"),
        (["in"], ["--output", "in"], "overwrite"),
    ],
)
def test_what_cannot_be_done_is_told_in_words(tmp_path, inputs, options, words):
    (tmp_path / "empty").mkdir()
    write_all(ct_series(Study(), slices=1, size=64), tmp_path / "in")
    options = [tmp_path / option if option == "in" else option for option in options]
    output = [] if "--output" in options else ["--output", tmp_path / "out"]
    result = denoise(*(tmp_path / name for name in inputs), *options, *output)
    assert result.returncode == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("out/**/*.dcm"))
