import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from PIL import Image
from pydicom import dcmread

from dae_pacs.demo import story
from dae_pacs.demo.images import DemoImage, demo_images
from dae_pacs.demo.orthanc import find_orthanc
from dae_pacs.demo.phantoms import Study, ct_series, radiograph, write_all
from dae_pacs.errors import InputError


@pytest.fixture
def small_images(tmp_path: Path) -> list[DemoImage]:
    objects = [radiograph(Study(), "CR"), *ct_series(Study(patient_id="PHANTOM-2"), slices=1)]
    paths = write_all(objects, tmp_path / "images")
    return [DemoImage(name, path) for name, path in zip(("knee", "head"), paths, strict=True)]


@pytest.mark.parametrize("embedded", [False, True], ids=["orthanc", "embedded archive"])
@pytest.mark.pacs
def test_demo_ends_with_table_and_pictures(
    small_images: list[DemoImage],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    embedded: bool,
) -> None:
    if find_orthanc() is None and not embedded:
        pytest.skip("Debian's orthanc is not installed")
    monkeypatch.chdir(tmp_path)  # a relative folder, as `make demo` gives it
    assert story.run(output=Path("out"), images=small_images, embedded=embedded) == 0
    shown = capsys.readouterr().out
    assert "received 2, denoised and delivered 2" in shown
    for image in small_images:
        original = dcmread(tmp_path / "out" / f"{image.name}-original.dcm")
        denoised = dcmread(tmp_path / "out" / f"{image.name}-denoised.dcm")
        assert original.SOPInstanceUID == dcmread(image.path).SOPInstanceUID
        assert denoised.StudyInstanceUID == original.StudyInstanceUID
        with Image.open(tmp_path / "out" / f"{image.name}.png") as picture:
            assert picture.width > picture.height


def test_demo_has_real_images() -> None:
    assert {dcmread(image.path, stop_before_pixels=True).Modality for image in demo_images()} == {"CR", "CT"}


def test_unwritable_output_is_told_in_words(tmp_path: Path, small_images: list[DemoImage]) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    with pytest.raises(InputError, match="--output"):
        story.run(output=in_the_way, images=small_images)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_demo_leaves_no_process_behind(tmp_path: Path, stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "dae_pacs", "demo", "--output", str(tmp_path / "out")]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("sent"):
                break
        children = psutil.Process(demo.pid).children(recursive=True)
        assert children
        demo.send_signal(stop)
        rest = demo.stdout.read()
        assert demo.wait(60) == 130
    deadline = time.monotonic() + 10
    while any(child.is_running() for child in children):
        assert time.monotonic() < deadline, "a child of the demo is still there"
        time.sleep(0.1)
    assert "Traceback" not in rest
