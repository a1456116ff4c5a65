import json
import logging
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import safetensors.torch
import torch

from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.denoise.engine import TOGETHER_PIXELS, TorchDenoiser, open_denoiser
from dae_pacs.denoise.network import build
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.errors import BundleError, PixelError, ServiceError
from dae_pacs.noise.model import NoiseModel, affine
from dae_pacs.noise.simulate import correlated

NOISE = affine(gain=0.5, offset=20.0, low=0.0, high=1000.0)


@pytest.fixture
def frames(rng):
    """Three noisy frames, (3, 70, 90) float32."""
    clean = np.add.outer(np.linspace(100, 600, 70), np.linspace(0, 300, 90)).astype(np.float32)
    clean[20:50, 30:60] += 80
    return np.stack([correlated(clean, gain=0.5, sigma=np.sqrt(20), blur_px=0, rng=rng) for _ in range(3)])


@pytest.fixture
def nothing_kept(frames):
    return np.zeros(frames.shape, dtype=bool)


def with_head(folder, factor):
    """Multiply the head's weights: by 0 the network removes nothing, by much it removes far too much."""
    path = folder / "models" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights["head.weight"] = weights["head.weight"] * factor
    safetensors.torch.save_file(weights, path)
    write_manifest(folder)
    return open_denoiser(folder, device="cpu")


def test_it_is_a_denoiser(bundle_folder):
    denoiser: Denoiser = open_denoiser(bundle_folder, device="cpu")
    assert denoiser.identity == load_bundle(bundle_folder).identity


def test_strength_zero_gives_the_input_back_bit_for_bit(denoiser, frames, nothing_kept):
    out = denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0)
    assert out is not frames
    assert np.array_equal(out, frames)


def test_what_the_network_leaves_alone_stays_bit_for_bit(bundle_folder, frames, nothing_kept):
    out = with_head(bundle_folder, 0).denoise(frames, nothing_kept, noise=NOISE, strength=1)
    assert out.dtype == np.float32
    assert np.array_equal(out, frames)


def test_kept_pixels_come_back_untouched(denoiser, frames, nothing_kept):
    keep = nothing_kept.copy()
    keep[:, 10:30, :] = True
    out = denoiser.denoise(frames, keep, noise=NOISE, strength=1)
    assert np.array_equal(out[keep], frames[keep])
    assert (out[~keep] != frames[~keep]).mean() > 0.9


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_kept_pixels_may_be_anything_and_spread_nowhere(denoiser, frames, nothing_kept, value):
    frames, keep = frames.copy(), nothing_kept.copy()
    frames[1, :, 80:], keep[1, :, 80:] = value, True
    out = denoiser.denoise(frames, keep, noise=NOISE, strength=1)
    assert np.array_equal(out[keep], frames[keep], equal_nan=True)
    assert np.isfinite(out[~keep]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused_in_words(denoiser, frames, nothing_kept, value):
    broken = frames.copy()
    broken[2, 3, 4] = value
    with pytest.raises(PixelError, match="1 pixels are NaN or infinite"):
        denoiser.denoise(broken, nothing_kept, noise=NOISE, strength=0.5)


def test_results_that_are_not_finite_are_refused_in_words(denoiser, frames, nothing_kept):
    tiny = NoiseModel(levels=(0.0,), variances=(1e-30,))
    with pytest.raises(PixelError, match="not finite"):
        denoiser.denoise(frames * np.float32(1e35), nothing_kept, noise=tiny, strength=0.5)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_strength_out_of_range_is_refused(denoiser, frames, nothing_kept, strength):
    with pytest.raises(PixelError, match="Strength"):
        denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=strength)


def test_wrong_shapes_and_types_are_refused(denoiser, frames, nothing_kept):
    for bad, keep in (
        (frames[0], nothing_kept[0]),
        (frames, nothing_kept[:1]),
        (frames.astype("f8"), nothing_kept),
    ):
        with pytest.raises(PixelError, match="expected float32"):
            denoiser.denoise(bad, keep, noise=NOISE, strength=0.5)


@pytest.mark.parametrize("strength", [0.3, 1.0])
def test_no_pixel_changes_by_more_than_three_sigma(bundle_folder, frames, nothing_kept, strength):
    out = with_head(bundle_folder, 1e4).denoise(frames, nothing_kept, noise=NOISE, strength=strength)
    change = np.abs(NOISE.stabilise(out) - NOISE.stabilise(frames))
    assert change.max() <= 3 * strength + 0.1
    assert np.median(change) > 2.8 * strength


def test_strength_blends(denoiser, frames, nothing_kept):
    flat = NoiseModel(levels=(0.0,), variances=(100.0,))
    half, whole = (denoiser.denoise(frames, nothing_kept, noise=flat, strength=s) for s in (0.5, 1.0))
    assert np.allclose(half - frames, (whole - frames) / 2, atol=1e-3)


def test_frames_are_denoised_one_by_one_whatever_the_batch(bundle_folder, frames, nothing_kept):
    bundle = load_bundle(bundle_folder)
    together, alone = (
        TorchDenoiser(bundle, device=torch.device("cpu"), most_pixels=pixels) for pixels in (1 << 20, 70 * 90)
    )
    first = together.denoise(frames, nothing_kept, noise=NOISE, strength=0.8)
    second = alone.denoise(frames, nothing_kept, noise=NOISE, strength=0.8)
    assert np.abs(first - second).max() < 1e-3


def test_threads_that_share_the_processor_get_what_one_gets_alone(bundle_folder, frames, nothing_kept):
    cores = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        denoiser = TorchDenoiser(load_bundle(bundle_folder), device=torch.device("cpu"))
        alone = denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0.8)

        def beside_another(_number: int):
            out = denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0.8, beside=2)
            return out, torch.get_num_threads()

        with ThreadPoolExecutor(2) as threads:
            for out, taken in threads.map(beside_another, range(6)):
                assert np.abs(out - alone).max() < 1e-3
                assert taken == 1
        assert torch.get_num_threads() == 2, "of this thread"
    finally:
        torch.set_num_threads(cores)


def test_as_many_passes_run_beside_each_other_as_there_are_cores_and_memory_for(bundle_folder):
    cores = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        denoiser = TorchDenoiser(load_bundle(bundle_folder), device=torch.device("cpu"))
    finally:
        torch.set_num_threads(cores)
    assert denoiser.batch_pixels == TOGETHER_PIXELS["cpu"] // 4
    for pixels, given in ((64 * 64, 8), (256 * 256, 8), (512 * 512, 4), (600 * 900, 1), (2500 * 2000, 1)):
        assert denoiser.side_by_side(pixels) == given, "half of them run, half wait for their turn"
        assert given == 1 or given // 2 * pixels <= TOGETHER_PIXELS["cpu"]


def test_same_input_gives_the_same_output(denoiser, frames, nothing_kept):
    first, second = (denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0.8) for _ in range(2))
    assert np.array_equal(first, second)


def test_tiles_give_what_the_whole_image_gives(bundle_folder, rng):
    config = {"_target_": "DenoisingUNet", "channels": [8, 16, 32, 64], "strides": [2, 2, 2]}
    torch.manual_seed(2)
    weights = {name: value * 1.7 for name, value in build(config).state_dict().items()}
    safetensors.torch.save_file(weights, bundle_folder / "models" / "model.safetensors")
    (bundle_folder / "configs" / "network.json").write_text(json.dumps(config))
    write_manifest(bundle_folder)
    bundle = load_bundle(bundle_folder)
    whole, tiled = (
        TorchDenoiser(bundle, device=torch.device("cpu"), most_pixels=pixels) for pixels in (1 << 20, 1 << 17)
    )
    x = (500 + 30 * rng.standard_normal((1, 400, 525))).astype(np.float32)
    x[:, 200:, 300:] += 400
    unit = NoiseModel(levels=(0.0,), variances=(900.0,))
    keep = np.zeros(x.shape, dtype=bool)
    first, second = (one.denoise(x, keep, noise=unit, strength=1) for one in (whole, tiled))
    assert np.abs(first - x).mean() > 1
    assert np.abs(first - second).max() < 1e-3 * 30


def test_calibration_measures_what_can_be_measured(denoiser, rng):
    x = (500 + 30 * rng.standard_normal((300, 300))).astype(np.float32)
    noise = denoiser.calibrate([x], [np.zeros(x.shape, dtype=bool)])
    assert noise.origin == "estimate"
    assert 0.9 < noise.sigma_at(500.0) / 30 < 1.02


def test_calibration_falls_back_and_says_so(denoiser, caplog):
    x = np.full((300, 300), 9, dtype=np.float32)
    with caplog.at_level(logging.WARNING):
        noise = denoiser.calibrate([x], [np.zeros(x.shape, dtype=bool)])
    assert noise.origin == "fallback"
    assert "fallback" in caplog.text
    assert "Noise not measured" in caplog.records[0].reason


@pytest.mark.parametrize("rounded", [False, True])
def test_an_image_without_noise_comes_back_nearly_unchanged(bundle_folder, rounded):
    smooth = np.add.outer(np.linspace(0, 300, 320), np.linspace(0, 500, 320)).astype(np.float32)[None]
    smooth[0, 100:200, 100:200] += 200
    image = np.round(smooth) if rounded else smooth
    keep = np.zeros(image.shape, dtype=bool)
    denoiser = with_head(bundle_folder, 100)
    noise = denoiser.calibrate(list(image), list(keep))
    out = denoiser.denoise(image, keep, noise=noise, strength=1)
    assert np.abs(out - image).max() < 0.1


def test_unknown_and_absent_devices_are_refused_in_words(bundle_folder):
    for name in ("gpu", "cuda:x", "cuda:", "mps", ""):
        with pytest.raises(ServiceError, match="not known"):
            open_denoiser(bundle_folder, device=name)
    with pytest.raises(ServiceError, match="torch finds"):
        open_denoiser(bundle_folder, device="cuda:99")


def test_auto_takes_a_gpu_if_there_is_one(bundle_folder):
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert open_denoiser(bundle_folder).device == expected


def test_broken_bundle_is_refused_at_opening(tmp_path):
    with pytest.raises(BundleError):
        open_denoiser(tmp_path)


def test_threads_are_set_when_asked(bundle_folder):
    open_denoiser(bundle_folder, device="cpu", threads=1)
    assert torch.get_num_threads() == 1
    open_denoiser(bundle_folder, device="cpu")
    assert torch.get_num_threads() == 1


def test_it_works_in_another_thread(denoiser, frames, nothing_kept):
    made = []
    thread = threading.Thread(
        target=lambda: made.append(denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0.5))
    )
    thread.start()
    thread.join()
    assert np.array_equal(made[0], denoiser.denoise(frames, nothing_kept, noise=NOISE, strength=0.5))


def test_protocol_and_noise_import_no_torch():
    script = "import sys, dae_pacs.denoise.protocol, dae_pacs.noise.estimate; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


TRIES = 3
"""libtorch itself now and then ends by a segmentation fault where one of its threads gets no memory. A node
takes that for a worker that died."""


def run_in_little_memory(bundle_folder, spare_mb):
    """Denoise in a process of its own whose address space may grow by so much and no more."""
    script = textwrap.dedent(
        f"""
        import logging, resource
        from pathlib import Path
        import numpy as np, torch
        from dae_pacs.denoise.engine import open_denoiser
        from dae_pacs.errors import ServiceError
        from dae_pacs.noise.model import NoiseModel
        logging.basicConfig(level="WARNING", format="%(message)s %(pixels)s")
        denoiser = open_denoiser(Path({str(bundle_folder)!r}), device="cpu", threads=1)
        noise = NoiseModel(levels=(0.0,), variances=(1.0,))
        x = np.random.default_rng(0).standard_normal((1, 1400, 1400)).astype(np.float32)
        keep = np.zeros(x.shape, dtype=bool)
        denoiser.denoise(x[:, :64, :64], keep[:, :64, :64], noise=noise, strength=1.0)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + {spare_mb} * 2**20, resource.RLIM_INFINITY))
        try:
            out = denoiser.denoise(x, keep, noise=noise, strength=1.0)
            print("changed", bool((out != x).mean() > 0.9))
        except ServiceError as refusal:
            print(refusal)
        """
    )
    for _ in range(TRIES):
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=200
        )
        if done.returncode != -signal.SIGSEGV:
            break
    return done


def test_out_of_memory_halves_the_pass_and_goes_on(bundle_folder):
    done = run_in_little_memory(bundle_folder, spare_mb=130)
    assert "changed True" in done.stdout, done.stderr
    assert "out of memory, pass halved 524288" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is here")
def test_a_gpu_gives_what_the_cpu_gives(bundle_folder, frames, nothing_kept):
    on_cpu, on_gpu = (
        open_denoiser(bundle_folder, device=name).denoise(frames, nothing_kept, noise=NOISE, strength=1)
        for name in ("cpu", "cuda")
    )
    assert np.abs(on_cpu - on_gpu).max() < 0.01 * float(NOISE.sigma_at(0.0))
