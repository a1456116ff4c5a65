"""Neighbours in space and time, and where they show the same."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian

from dae_pacs.errors import TrainingError
from dae_pacs.learn.data import find_data
from dae_pacs.learn.recorrupt import local_noise
from dae_pacs.learn.slices import (
    LoadPaired,
    NeighbourAsLabel,
    WeighAgreement,
    pair_slices,
    variance_of_mean,
)
from dae_pacs.noise.model import affine
from dae_pacs.noise.spectrum import WHITE, Spectrum, gaussian_spectrum

CORRELATED = gaussian_spectrum(0.8)
SPECTRA = pytest.mark.parametrize("spectrum", [WHITE, CORRELATED], ids=["white", "correlated"])
SHAPE = (96, 96)


def write_series(folder: Path, *, count: int, uid: str = "1.2", patient: str = "P") -> None:
    """A stack whose file names run against its order in space; two pixels make each unlike any other."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
        pixels = ds.pixel_array.copy()
        pixels[0, :2] = number, len(patient) + ord(patient[0])
        ds.PixelData = pixels.tobytes()
        ds.PatientID, ds.SeriesInstanceUID, ds.SOPInstanceUID = patient, uid, f"{uid}.{number}"
        ds.ImagePositionPatient = [0, 0, 5 * number]
        ds.save_as(folder / f"{uid}-{99 - number}.dcm")


def number_of(path: object) -> int:
    return 99 - int(Path(str(path)).stem.split("-")[1])


def test_a_slice_is_paired_with_the_next_in_space(tmp_path: Path) -> None:
    write_series(tmp_path, count=4, uid="1.2", patient="A")
    write_series(tmp_path, count=4, uid="1.3", patient="B")
    data = pair_slices(find_data(tmp_path))
    for side in (data.training, data.validation):
        steps = [(number_of(item["image"]), number_of(item["neighbour"])) for item in side]
        assert sorted(steps)[:3] == [(0, 1), (1, 2), (2, 3)]
        assert all(str(item["image"])[:-6] == str(item["neighbour"])[:-6] for item in side)


def test_no_training_slice_aims_at_a_held_out_one(tmp_path: Path) -> None:
    write_series(tmp_path, count=8)
    data = pair_slices(find_data(tmp_path, validation_share=0.25))
    trained = {item[key] for item in data.training for key in ("image", "neighbour")}
    held_out = {item["image"] for item in data.validation}
    assert not trained & held_out
    assert len(held_out) == 2


def test_a_held_out_slice_alone_is_checked_against_its_neighbour(tmp_path: Path) -> None:
    write_series(tmp_path, count=4)
    data = pair_slices(find_data(tmp_path))
    assert len(data.validation) == 1
    step = number_of(data.validation[0]["image"]) - number_of(data.validation[0]["neighbour"])
    assert abs(step) == 1


def cine(folder: Path, *, frames: int, seed: int) -> None:
    ds = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    pixels = np.random.default_rng(seed).integers(1, 900, (frames, 128, 128)).astype(np.int16)
    ds.NumberOfFrames, ds.PixelData = frames, pixels.tobytes()
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.12.1"  # XA
    ds.Modality = "XA"
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPInstanceUID = ds.SeriesInstanceUID = f"1.2.{seed}"
    ds.PatientID = str(seed)
    ds.save_as(folder / f"{seed}.dcm")


def test_frames_of_a_cine_run_are_paired_in_time(tmp_path: Path) -> None:
    for seed in (1, 2):
        cine(tmp_path, frames=40, seed=seed)  # more than are trained on of one file
    data = pair_slices(find_data(tmp_path))
    assert len(data.training) == 15  # the last frame has no next one
    assert all(item["neighbour_frame"] == int(item["frame"]) + 1 for item in data.training)
    assert all(item["neighbour"] == item["image"] for item in data.training)
    item = data.training[3]
    loaded = LoadPaired("image")(item)
    stored = pydicom.dcmread(str(item["image"])).pixel_array.astype(np.float32)
    for key, frame in (("image", item["frame"]), ("neighbour", item["neighbour_frame"])):
        assert loaded[key].shape == loaded[f"{key}_keep"].shape == (1, 128, 128)
        difference = loaded[key][0].numpy() - stored[int(frame)]
        assert np.ptp(difference) == 0  # but for the rescale's intercept


def test_single_pictures_are_refused_with_the_recipe_for_them(images: Path) -> None:
    with pytest.raises(TrainingError, match="single images are learned from by the recipe recorrupt"):
        pair_slices(find_data(images))


@SPECTRA
@pytest.mark.parametrize("side_px", [3, 7])
def test_the_variance_of_a_mean_follows_from_the_spectrum(spectrum: Spectrum, side_px: int) -> None:
    rng = np.random.default_rng(0)
    boxes = [local_noise((140, 140), spectrum, rng).reshape(20, 7, 20, 7) for _ in range(10)]
    means = np.stack([box[:, :side_px, :, :side_px].mean(axis=(1, 3)) for box in boxes])
    assert variance_of_mean(side_px, spectrum) == pytest.approx(float(means.var()), rel=0.12)
    if spectrum == WHITE:
        assert variance_of_mean(side_px, spectrum) == pytest.approx(1 / side_px**2)


def pair(
    spectrum: Spectrum, first: np.ndarray, second: np.ndarray, keep: np.ndarray | None = None
) -> dict[str, object]:
    rng = np.random.default_rng(0)
    weight = np.ones((1, *SHAPE), dtype=np.float32) if keep is None else 1 - keep[None].astype(np.float32)
    noisy = [(plane + local_noise(SHAPE, spectrum, rng)).astype(np.float32) for plane in (first, second)]
    return {
        "image": torch.from_numpy(noisy[0])[None],
        "neighbour": torch.from_numpy(noisy[1])[None],
        "image_weight": torch.from_numpy(weight),
        "neighbour_weight": torch.ones(1, *SHAPE),
        "noise": affine(gain=0.0, offset=1.0, low=0.0, high=1.0, spectrum=spectrum).to_json(),
    }


RAMP = np.linspace(-20, 20, 96 * 96).reshape(SHAPE)


@SPECTRA
def test_equal_slices_count_nearly_everywhere(spectrum: Spectrum) -> None:
    agreement = WeighAgreement("image")(pair(spectrum, RAMP, RAMP))["image_agreement"]
    assert agreement.dtype == torch.float32
    assert agreement.mean() > 0.985


@SPECTRA
def test_what_moved_does_not_count(spectrum: Spectrum) -> None:
    first, second = RAMP.copy(), RAMP.copy()
    first[30:50, 30:50] += 12
    second[30:50, 34:54] += 12
    agreement = WeighAgreement("image")(pair(spectrum, first, second))["image_agreement"][0]
    assert agreement[32:48, 30:34].mean() < 0.02
    assert agreement[32:48, 50:54].mean() < 0.02
    assert agreement[60:, :].mean() > 0.98


def test_a_small_spot_in_one_slice_alone_does_not_count() -> None:
    second = RAMP.copy()
    second[40:42, 40:42] += 8
    agreement = WeighAgreement("image")(pair(WHITE, RAMP, second))["image_agreement"][0]
    assert not agreement[40:42, 40:42].any()


def test_padding_does_not_count() -> None:
    keep = np.zeros(SHAPE, dtype=bool)
    keep[:20] = True
    made = WeighAgreement("image")(pair(WHITE, RAMP, RAMP, keep))
    assert not made["image_agreement"][:, :20].any()
    assert torch.equal(made["image_weight"], made["image_agreement"])


def test_slices_with_nothing_in_common_can_still_be_drawn_from() -> None:
    made = WeighAgreement("image")(pair(WHITE, RAMP, RAMP + 50))
    assert not made["image_agreement"].any()
    assert made["image_weight"].all()


def test_either_slice_is_the_target_but_in_validation() -> None:
    item = {
        "image": torch.zeros(1, 8, 8),
        "neighbour": torch.ones(1, 8, 8),
        "image_agreement": torch.full((1, 8, 8), 0.5),
    }
    transform = NeighbourAsLabel("image").set_random_state(seed=0)
    drawn = [transform(item) for _ in range(30)]
    assert {float(made["image"].mean()) for made in drawn} == {0.0, 1.0}
    for made in drawn:
        assert made["label"].shape == (2, 8, 8)
        assert torch.equal(made["label"][:1], 1 - made["image"])
        assert (made["label"][1] == 0.5).all()
    assert {float(transform({**item, "seed": 1})["image"].mean()) for _ in range(30)} == {0.0}
