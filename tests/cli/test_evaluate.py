"""`dae-pacs evaluate` from end to end, with the shipped model."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL import Image
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dae_pacs.cli import evaluate as command
from dae_pacs.cli.evaluate import NUMBERS, PAGE
from dae_pacs.cli.evaluation import Bar, evaluate
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.image.series import scan
from dae_pacs.node.events import Calibrated, SeriesTask, Source
from dae_pacs.node.pipeline import denoise_series
from dae_pacs.resources import models_folder

MODEL = "xray_radiograph_denoising"


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clean_picture(seed: int) -> np.ndarray:
    row, column = np.mgrid[:128, :192]
    disc = 60 * (np.hypot(row - 60, column - 40 - 20 * seed) < 25)
    return (70 + column / 4 + disc).astype(np.float32)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two noisy pictures in data/clinic, and the clean ones of the same names in clean/clinic."""
    rng = np.random.default_rng(0)
    for seed in range(2):
        clean = clean_picture(seed)
        noisy = clean + 6 * rng.standard_normal(clean.shape)
        for folder, image in (("data", noisy), ("clean", clean)):
            place = tmp_path / folder / "clinic"
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.clip(np.rint(image), 1, 254).astype(np.uint8)).save(place / f"{seed}.png")
    return tmp_path


def test_pictures_with_a_reference_and_an_object_become_one_page(pictures, run):
    source = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    (pictures / "data" / "slice.dcm").write_bytes(source.read_bytes())
    (pictures / "data" / "notes.txt").write_text("no image")
    ran = run("evaluate", MODEL, "data", "--reference", "clean", "-o", "out", "--device", "cpu")

    assert ran.code == 0
    assert "notes.txt" in ran.err
    assert "slice.dcm: no reference of this name; judged without" in ran.err
    read = json.loads((pictures / "out" / NUMBERS).read_text(encoding="utf-8"))
    assert {group["modality"] for group in read["groups"]} == {"CT", "picture"}
    assert {name for group in read["groups"] for name in group["judged"]} == {
        "clinic/0.png", "clinic/1.png", "slice.dcm",
    }  # fmt: skip
    stratum = read["fidelity"]["by_modality"][0]
    assert (stratum["modality"], stratum["images"]) == ("picture", 2)
    assert stratum["psnr_db gain"] > 3
    assert stratum["rmse before"] == pytest.approx(6, rel=0.1)
    assert read["model"]["name"] == MODEL
    assert len(read["model"]["digest"]) == 64
    html = (pictures / "out" / PAGE).read_text(encoding="utf-8")
    ds = dcmread(source)
    for secret in (str(ds.PatientName), str(ds.PatientID), str(ds.SeriesInstanceUID), str(pictures)):
        assert secret not in html
        assert secret not in json.dumps(read)
    assert not re.search(r"https?://", html)


def test_most_bounds_the_work_and_strength_is_heeded(pictures, run):
    ran = run("evaluate", MODEL, "data", "--most", "1", "--strength", "0.3", "-o", "out", "--device", "cpu")
    assert ran.code == 0
    read = json.loads((pictures / "out" / NUMBERS).read_text(encoding="utf-8"))
    assert [group["judged"] for group in read["groups"]] == [["clinic/0.png"]]
    assert read["groups"][0]["images"] == 2
    assert read["strength"] == 0.3
    bare = {check["key"]: check for check in read["groups"][0]["checks"]}
    assert bare["variance"]["numbers"]["ratio_all"] == pytest.approx(0.9, abs=0.2), "at full strength"


def test_planes_of_a_volume_are_drawn_and_named(tmp_path, run):
    voxels = np.random.default_rng(0).normal(100, 5, (3, 96, 96)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "v.nii.gz"))
    assert run("evaluate", MODEL, "v.nii.gz", "--most", "2", "-o", "out", "--device", "cpu").code == 0
    read = json.loads((tmp_path / "out" / NUMBERS).read_text(encoding="utf-8"))
    (group,) = read["groups"]
    assert (group["modality"], group["images"]) == ("volume", 3)
    assert group["judged"] == ["v.nii.gz, frame 1", "v.nii.gz, frame 3"]


def test_noise_is_measured_as_the_node_measures_it(tmp_path):
    path = tmp_path / "slice.dcm"
    path.write_bytes(Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes())
    options = command.EvaluateOptions(output=tmp_path, device="cpu")
    found = evaluate(MODEL, path, options=options, bar=Bar(lambda _words, _total: None, lambda: None))

    series = scan([path]).series[0]
    task = SeriesTask(
        job_id=1,
        sources=tuple(Source(k, path, "0" * 64) for k, path in enumerate(series.paths)),
        model=MODEL,
        strength=None,
        description="{source}",
        series_number=1001,
        ae_title="DAE_PACS",
    )
    events = []
    denoiser = open_denoiser(models_folder() / MODEL, device="cpu")
    denoise_series(task, denoiser, events.append, name_file=lambda *_: tmp_path / "derived.dcm")
    told = next(event for event in events if isinstance(event, Calibrated))
    assert found.groups[0].noise.to_json() == told.noise


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("data", "--reference", "elsewhere"), "has the name of one in data"),
        (("empty",), "empty: no image can be judged"),
        (("missing",), "no such file or folder"),
    ],
)
def test_what_cannot_be_judged_is_told_in_words(pictures, run, arguments, words):
    (pictures / "empty").mkdir()
    (pictures / "elsewhere").mkdir()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(pictures / "elsewhere" / "other.png")
    ran = run("evaluate", MODEL, *arguments, "--device", "cpu")
    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert not (pictures / "evaluation" / PAGE).exists()


def test_reference_of_another_size_is_named(pictures, run):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save(pictures / "clean" / "clinic" / "0.png")
    ran = run("evaluate", MODEL, "data", "--reference", "clean", "-o", "out", "--device", "cpu")
    assert ran.code == 0
    assert "clinic/0.png: not held against its reference" in ran.err
    assert "64×64" in ran.err
    read = json.loads((pictures / "out" / NUMBERS).read_text(encoding="utf-8"))
    assert [one["name"] for one in read["fidelity"]["images"]] == ["clinic/1.png"]


def test_strict_ends_with_one_when_a_file_is_broken(pictures, run):
    (pictures / "data" / "broken.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\1" * 9)
    arguments = ("evaluate", MODEL, "data", "--most", "1", "-o", "out", "--device", "cpu")
    assert run(*arguments).code == 0
    strict = run(*arguments, "--strict")
    assert strict.code == 1
    assert "broken.dcm" in strict.err


def test_missing_packages_are_named(monkeypatch, run, tmp_path):
    monkeypatch.setattr(command, "EXTRAS", {"no_such_module": "no-such-package"})
    ran = run("evaluate", MODEL, tmp_path)
    assert ran.code == 1
    assert "no-such-package" in ran.err
    assert "dae-pacs[train]" in ran.err
