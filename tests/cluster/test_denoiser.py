"""Batches on a real cluster, from this process."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dae_pacs.cluster.denoiser import ClusterDenoiser
from dae_pacs.cluster.extra import start
from dae_pacs.cluster.messages import Batch
from dae_pacs.cluster.parcel import parcel_of
from dae_pacs.denoise.engine import open_denoiser
from dae_pacs.errors import BundleError, PixelError
from dae_pacs.noise.model import NoiseModel
from dae_pacs.resources import find_bundle

BUNDLE = find_bundle("xray_radiograph_denoising")
PATIENCE_S = 100.0

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def denoiser(cluster) -> Iterator[ClusterDenoiser]:
    foreman = start(cluster.settings)
    yield ClusterDenoiser(BUNDLE, foreman)
    foreman.close()


@pytest.fixture(scope="module")
def frames() -> NDArray[np.float32]:
    rng = np.random.default_rng(3)
    ramp = np.linspace(900, 1100, 128, dtype=np.float32)
    return (ramp + 20 * rng.standard_normal((3, 128, 128))).astype(np.float32)


def nothing_kept(frames: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.zeros(frames.shape, dtype=bool)


def noise_of(denoiser: ClusterDenoiser, frames: NDArray[np.float32]) -> NoiseModel:
    return denoiser.calibrate(list(frames), list(nothing_kept(frames)))


def until(claim: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_cluster_gives_what_the_local_engine_gives_bit_for_bit(denoiser, frames):
    local = open_denoiser(BUNDLE, device="cpu", threads=1)
    assert denoiser.identity == local.identity
    keep = nothing_kept(frames)
    keep[:, :9] = True
    noise = noise_of(denoiser, frames)
    assert noise == local.calibrate(list(frames), list(nothing_kept(frames)))
    for strength in (0.0, 0.7, 1.0):
        there = denoiser.denoise(frames, keep, noise=noise, strength=strength)
        here = local.denoise(frames, keep, noise=noise, strength=strength)
        np.testing.assert_array_equal(there, here)
        assert there.flags.writeable


def test_words_of_the_engine_cross_the_network(denoiser, frames):
    noise = noise_of(denoiser, frames)
    bad = frames.copy()
    bad[1, 5, 5] = np.nan
    with pytest.raises(PixelError, match=r"not finite|NaN"):
        denoiser.denoise(bad, nothing_kept(bad), noise=noise, strength=0.5)


def test_bundle_of_another_digest_is_refused_in_words(denoiser, frames):
    parcel = parcel_of(BUNDLE)
    wrong = replace(parcel, identity=replace(parcel.identity, digest="f" * 64))
    batch = Batch("f" * 64, frames, nothing_kept(frames), noise_of(denoiser, frames).to_json(), 0.5)
    with pytest.raises(BundleError, match="ffffffffffff"):
        denoiser._foreman.give(wrong, batch).result(PATIENCE_S)


def test_bundle_whose_bytes_changed_on_the_way_is_refused_in_words(denoiser, frames):
    parcel = parcel_of(BUNDLE)
    name = "models/model.safetensors"
    content = bytearray(parcel.files[name])
    content[-1] ^= 1
    wrong = replace(
        parcel,
        identity=replace(parcel.identity, digest="e" * 64),
        files={**parcel.files, name: bytes(content)},
    )
    batch = Batch("e" * 64, frames, nothing_kept(frames), noise_of(denoiser, frames).to_json(), 0.5)
    with pytest.raises(BundleError, match=r"not what manifest\.json says"):
        denoiser._foreman.give(wrong, batch).result(PATIENCE_S)


def test_both_workers_are_given_work_and_one_that_dies_costs_nothing(denoiser, frames, whole_cluster):
    until(lambda: denoiser._foreman.workers == 2, "both machines have a worker")
    noise = noise_of(denoiser, frames)
    many = np.concatenate([frames] * 8)
    expected = denoiser.denoise(many, nothing_kept(many), noise=noise, strength=0.7)
    with ThreadPoolExecutor(6) as threads:
        coming = [
            threads.submit(denoiser.denoise, many, nothing_kept(many), noise=noise, strength=0.7)
            for _ in range(12)
        ]
        until(lambda: sum(each.done() for each in coming) >= 2, "some are back")
        victim = whole_cluster.workers()[0]
        os.kill(victim.pid, signal.SIGKILL)
        for each in coming:
            np.testing.assert_array_equal(each.result(PATIENCE_S), expected)
    # the cluster starts it again; it comes without a model, and is sent the bundle
    until(lambda: denoiser._foreman.workers == 2, "the worker is back")
    until(lambda: len(whole_cluster.workers()) == 2, "and there is no third")


def test_bundle_is_read_from_its_folder_as_everywhere(denoiser, tmp_path: Path):
    with pytest.raises(BundleError, match=r"manifest\.json"):
        ClusterDenoiser(tmp_path, denoiser._foreman)
