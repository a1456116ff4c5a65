"""What a device or a network may do wrong, through the real engine: a network that misbehaves is put in."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from dae_pacs.denoise import engine
from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.choice import LAST_RESORT, Way, choose, last_resort, layer_by_layer
from dae_pacs.denoise.engine import LEAST_PIXELS, TorchDenoiser
from dae_pacs.denoise.on_device import DeviceNoise, Settings, host_memory, launch
from dae_pacs.denoise.passes import Budget, Place
from dae_pacs.errors import ModelError, PixelError, ServiceError
from dae_pacs.noise.model import NoiseModel, affine

CPU = torch.device("cpu")
NOISE = affine(gain=0.5, offset=20.0, low=0.0, high=1000.0)
WORDS = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"


class Faulty(nn.Module):
    """The network, whose outcome is changed."""

    def __init__(self, network, change):
        super().__init__()
        self.network, self.change = network, change
        self.grid_px, self.overlap_px = network.grid_px, network.overlap_px

    def forward(self, z):
        return self.change(self.network(z))


class Cramped(nn.Module):
    """The network on a device that has room for so many pixels at a time."""

    def __init__(self, network, room_pixels):
        super().__init__()
        self.network, self.room_pixels = network, room_pixels
        self.passes = []
        self.grid_px, self.overlap_px = network.grid_px, network.overlap_px

    def forward(self, z):
        self.passes.append(z.numel())
        if z.numel() > self.room_pixels:
            raise RuntimeError(WORDS)
        return self.network(z)


def with_network(folder, make, **settings):
    def choose_way(network: nn.Module, _device: torch.device) -> Way:
        return replace(layer_by_layer(network), name="faulty", network=make(network))

    return TorchDenoiser(load_bundle(folder), device=CPU, choose_way=choose_way, **settings)


@pytest.fixture
def frames(rng):
    return (500 + 20 * rng.standard_normal((3, 128, 160))).astype(np.float32)


def denoise(denoiser, frames, **changes):
    settings = {"noise": NOISE, "strength": 0.7, **changes}
    return denoiser.denoise(frames, np.zeros(frames.shape, dtype=bool), **settings)


def nan_in_a_corner(z):
    z = z.clone()
    z[..., -1, -1] = torch.nan
    return z


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (nan_in_a_corner, "not finite"),
        (lambda z: z + torch.inf, "not finite"),
        (lambda z: z - torch.inf, "not finite"),
        (torch.zeros_like, "one and the same value"),
        (lambda z: z[..., :-1], "same shape"),
        (lambda z: z[0], "same shape"),
        (lambda z: None, "NoneType"),
    ],
    ids=["nan", "infinity", "minus-infinity", "constant", "cropped", "no-batch", "nothing"],
)
def test_what_no_image_is_fails_in_words(bundle_folder, frames, change, words):
    denoiser = with_network(bundle_folder, lambda network: Faulty(network, change))
    with pytest.raises(ModelError, match=words):
        denoise(denoiser, frames)


def test_one_constant_frame_among_good_ones_fails(bundle_folder, frames):
    def spoil(z):
        z = z.clone()
        z[1] = 3.0
        return z

    with pytest.raises(ModelError, match="one and the same"):
        denoise(with_network(bundle_folder, lambda network: Faulty(network, spoil)), frames)


def test_constant_image_may_stay_constant(bundle_folder):
    flat = np.full((1, 40, 40), 7, dtype=np.float32)
    assert np.array_equal(denoise(with_network(bundle_folder, lambda network: network), flat), flat)


def test_values_that_no_detector_gives_are_the_images_fault(bundle_folder, frames):
    tiny = NoiseModel(levels=(0.0,), variances=(1e-30,))
    with pytest.raises(PixelError, match="rescale slope"):
        denoise(with_network(bundle_folder, lambda network: network), frames * 1e30, noise=tiny)


def test_out_of_memory_halves_batches_then_tiles_and_changes_nothing(bundle_folder, frames):
    cramped = []

    def make(network):
        cramped.append(Cramped(network, 13_000))
        return cramped[0]

    expected = denoise(with_network(bundle_folder, lambda network: network), frames)
    denoiser = with_network(bundle_folder, make)
    assert np.abs(denoise(denoiser, frames) - expected).max() < 0.05  # a three hundredth of the noise
    assert cramped[0].passes[0] == frames.size  # all at once, then ever less, down to tiles of one frame
    assert max(cramped[0].passes[-6:]) <= 13_000
    assert denoiser.batch_pixels < frames[0].size


def test_onednn_that_refuses_for_good_is_done_without(bundle_folder, frames, caplog):
    denoiser = with_network(bundle_folder, lambda network: Cramped(network, 0))
    expected = denoise(with_network(bundle_folder, lambda network: network), frames)
    assert np.abs(denoise(denoiser, frames) - expected).max() < 0.05
    assert denoiser.way.name == LAST_RESORT
    assert "going on without oneDNN" in caplog.text


def test_device_without_any_room_says_so(bundle_folder, frames, monkeypatch):
    def cramped_too(network):
        return replace(last_resort(network), network=Cramped(network, 0))

    monkeypatch.setattr(engine, "last_resort", cramped_too)
    denoiser = with_network(bundle_folder, lambda network: Cramped(network, 0))
    with pytest.raises(ServiceError, match=f"too little memory left for {LEAST_PIXELS} pixels"):
        denoise(denoiser, frames)


def test_other_errors_of_the_network_are_not_taken_for_want_of_memory(bundle_folder, frames):
    def fail(_z):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        denoise(with_network(bundle_folder, lambda network: Faulty(network, fail)), frames)


@pytest.fixture
def gpu_without_memory(bundle_folder, monkeypatch):
    """An engine for a GPU that is not there: whatever is launched on it finds no memory."""
    launches = []

    def launch_nothing(frames, *_args, **_settings):
        launches.append(frames.size)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(engine, "launch", launch_nothing)
    monkeypatch.setattr(engine, "host_memory", lambda shape, _device: torch.empty(shape))
    denoiser = TorchDenoiser(
        load_bundle(bundle_folder),
        device=torch.device("cuda", 0),
        choose_way=lambda network, _device: choose(network, CPU),
    )
    return denoiser, launches


def test_gpu_without_memory_halves_and_then_the_cpu_takes_its_place(
    bundle_folder, frames, gpu_without_memory, caplog
):
    denoiser, launches = gpu_without_memory
    found = denoise(denoiser, frames)
    assert np.array_equal(found, denoise(TorchDenoiser(load_bundle(bundle_folder), device=CPU), frames))
    assert len(launches) > 2
    assert "the CPU takes its place" in caplog.text


def test_gpu_is_left_alone_for_a_while_and_then_asked_again(frames, gpu_without_memory):
    denoiser, launches = gpu_without_memory
    denoise(denoiser, frames)
    asked = len(launches)
    denoise(denoiser, frames)
    assert len(launches) == asked
    denoiser._resting_until = 0.0
    denoise(denoiser, frames)
    assert len(launches) > asked


@pytest.mark.parametrize("levels", [(100.0,), (0.0, 1000.0), (0.0, 200.0, 450.0, 900.0)])
def test_steps_on_a_device_give_what_numpy_gives(bundle_folder, frames, levels):
    noise = NoiseModel(levels=levels, variances=tuple(20.0 + 0.5 * level for level in levels))
    network = load_bundle(bundle_folder).network()
    x = np.sort(frames.reshape(-1)).reshape(frames.shape) * 2 - 600
    keep = np.zeros(x.shape, dtype=bool)
    keep[:, :5] = True
    x[0, 0, 0] = np.nan
    place = Place(CPU, layer_by_layer(network), Budget(1 << 20, 1 << 20))
    result = host_memory(x.shape, CPU)
    launch(x, keep, settings=Settings(noise, 0.7, 3.0), place=place, result=result).wait()
    there = result.numpy()
    here = TorchDenoiser(
        load_bundle(bundle_folder), device=CPU, choose_way=lambda network, _device: layer_by_layer(network)
    ).denoise(x, keep, noise=noise, strength=0.7)
    assert np.array_equal(there[keep], x[keep], equal_nan=True)
    assert np.abs(there - here)[~np.isnan(x)].max() < 1e-3
    assert (here[~keep] != x[~keep]).mean() > 0.9


def test_what_the_network_leaves_alone_stays_bit_for_bit_on_a_device(frames):
    transform = DeviceNoise.of(NOISE, CPU)
    x = torch.from_numpy(frames)
    z = transform.stabilise(x)
    assert np.array_equal(z.numpy(), NOISE.stabilise(frames))
    assert torch.equal(transform.change(x, z, z.clone(), strength=0.7), x)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_on_a_device(bundle_folder, frames, value):
    frames[1, 3, 4:6] = value
    place = Place(CPU, layer_by_layer(load_bundle(bundle_folder).network()), Budget(1 << 20, 1 << 20))
    launched = launch(
        frames,
        np.zeros(frames.shape, dtype=bool),
        settings=Settings(NOISE, 0.7, 3.0),
        place=place,
        result=host_memory(frames.shape, CPU),
    )
    with pytest.raises(PixelError, match="2 pixels are NaN or infinite"):
        launched.wait()
