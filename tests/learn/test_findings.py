"""What was found is counted, and no file is named."""

from pathlib import Path

import pytest

from dae_pacs.learn.data import Data
from dae_pacs.learn.findings import CORRELATED_FROM, NoiseGroup, count, kinds, noise_groups, reasons
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import WHITE, gaussian_spectrum


def item(path: Path | str, group: str = "g", **more: str) -> dict[str, str | int | float]:
    return {"image": str(path), "frame": 0, "group": group, "pixels": 9, **more}


def test_files_frames_and_groups_are_counted() -> None:
    side = count([item("a", "p"), {**item("a", "p"), "frame": 1}, item("b", "q")])
    assert (side.files, side.frames, side.groups) == (2, 3, 2)


def test_kinds_are_formats_of_pictures(images: Path) -> None:
    found = kinds([item(path) for path in sorted(images.rglob("*")) if path.is_file()])
    assert found == {"PNG": 2, "JPEG": 1, "TIFF": 1}
    assert kinds([item("/gone")]) == {"unknown": 1}


def test_reasons_are_counted_without_names() -> None:
    problems = (
        ("/doe/1.dcm", "/doe/1.dcm: it is cut off after 7 bytes"),
        ("/doe/2.dcm", "/doe/2.dcm: it is cut off after 3.5 bytes"),
        ("/doe/3.dcm", "the same pixels as /doe/4.dcm"),
        ("/doe/5.png", "0 files under clean are named 5; expected one"),
        ("/doe/a/jane.png", "0 files under clean are named a/jane; expected one"),
    )
    told = reasons(Data((), (), problems))
    assert told["it is cut off after 7 bytes"] == 2, "numbers make no other reason"
    assert told["the same pixels as another file"] == 1
    assert not [name for name in ("doe", "jane") if name in str(told)]


@pytest.mark.parametrize(("blur_px", "correlation"), [(0.0, 0.0), (0.8, 0.67)])
def test_the_correlation_of_neighbours_is_that_of_the_spectrum(blur_px: float, correlation: float) -> None:
    # White noise after a Gaussian of sigma s has exp(-1 / 4 s²) one pixel away: 0.677 for 0.8.
    spectrum = gaussian_spectrum(blur_px) if blur_px else WHITE
    group = NoiseGroup(1, NoiseModel(levels=(0.0, 9.0), variances=(1.0, 4.0), spectrum=spectrum))
    assert group.correlation == pytest.approx(correlation, abs=0.03)
    assert group.is_correlated == (correlation > CORRELATED_FROM)
    assert group.sigmas == (1.0, 2.0)


def test_files_that_share_a_noise_are_one_group() -> None:
    model = NoiseModel(levels=(0.0,), variances=(1.0,)).to_json()
    other = NoiseModel(levels=(0.0,), variances=(2.0,)).to_json()
    data = Data((item("a", noise=model), item("b", noise=model)), (item("c", noise=other),), ())
    assert [group.files for group in noise_groups(data)] == [2, 1]
    assert noise_groups(Data((item("a"),), (), ())) == ()
