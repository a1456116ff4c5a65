from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from dae_pacs.noise.model import NoiseModel

Import = Callable[[str], ModuleType]
SHARED_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def data(benchmark_module: Import) -> ModuleType:
    return benchmark_module("denoising_data")


@pytest.fixture
def flat_picture(tmp_path: Path) -> Path:
    """Half black, half white, with a ramp between them for the percentiles to find."""
    picture = np.zeros((256, 256), dtype=np.uint16)
    picture[:, 128:] = 40000
    picture[:2] = np.linspace(0, 40000, 256)
    path = tmp_path / "half.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.mark.parametrize("name", ["uncorrelated", "correlated", "jpeg"])
def test_stored_noise_is_that_of_its_model_on_black_and_on_white(
    data: ModuleType, flat_picture: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "images"
    data.write_training({"group": [flat_picture]}, folder, [data.CONDITIONS[name]], [0.1])
    (noisy,) = (folder / name / "noisy").rglob("half.*")
    (clean,) = (folder / name / "clean").rglob("half.*")
    assert noisy.parent.name == clean.parent.name == "group-0.1"
    model = NoiseModel.from_json((folder / name / "true" / "group-0.1" / "noise.json").read_text())
    difference = np.asarray(Image.open(noisy), dtype=float) - np.asarray(Image.open(clean), dtype=float)
    for side in (slice(8, 56), slice(72, 120)):
        level = float(np.asarray(Image.open(clean))[64, side.start])
        # Behind JPEG some of it is gone.
        assert difference[8:, side].std() == pytest.approx(
            model.sigma_at(level), rel=0.3 if name == "jpeg" else 0.05
        )
        assert abs(difference[8:, side].mean()) < 0.1 * model.sigma_at(level)


def test_only_the_third_condition_is_compressed(data: ModuleType, flat_picture: Path, tmp_path: Path) -> None:
    data.write_training({"group": [flat_picture]}, tmp_path, list(data.CONDITIONS.values()), [0.05])
    formats = {}
    for path in tmp_path.glob("*/noisy/*/*"):
        with Image.open(path) as picture:
            formats[path.parts[-4]] = picture.format
    assert formats == {"uncorrelated": "PNG", "correlated": "PNG", "jpeg": "JPEG"}


def test_same_case_has_the_same_noise_on_every_run(data: ModuleType) -> None:
    clean = np.full((32, 32), 0.5, dtype=np.float32)
    condition = data.CONDITIONS["correlated"]
    first, again = (condition.noisy(clean, 0.05, "name") for _ in range(2))
    assert (first == again).all()
    assert (first != condition.noisy(clean, 0.05, "other name")).any()


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="../shared/data is not here")
def test_no_image_is_trained_and_tested_on(data: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = data.training_files(SHARED_DATA)
    assert len(groups["dental"]) == 12
    assert all(path.is_file() for files in groups.values() for path in files)
    tested = dict(data.TEST_GROUPS) | {"more": ("dicom/wg04/J2KR/RG2_J2KR",)}
    monkeypatch.setattr(data, "TEST_GROUPS", tested)
    with pytest.raises(ValueError, match="RG2_J2KR"):
        data.training_files(SHARED_DATA)
