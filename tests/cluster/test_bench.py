"""A worker's own part, in this process: what it takes, what it answers, when it ends."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dae_pacs import __version__
from dae_pacs.cluster import bench
from dae_pacs.cluster.bench import Bench
from dae_pacs.cluster.messages import Batch, Clean, Missing, Refused, Taken
from dae_pacs.cluster.parcel import Parcel, parcel_of
from dae_pacs.errors import BundleError
from dae_pacs.noise.model import affine
from dae_pacs.resources import find_bundle

NOISE = affine(gain=0.0, offset=400.0, low=0.0, high=2000.0).to_json()


@pytest.fixture(scope="module")
def parcel() -> Parcel:
    return parcel_of(find_bundle("xray_radiograph_denoising"))


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Bench:
    # they would seal this process, and change how it reports crashes, for all tests after this one
    monkeypatch.setattr(bench, "seal_process", lambda: None)
    monkeypatch.setattr(bench, "log_crashes", lambda: None)
    return Bench(1, idle_s=3600, end=lambda: None)


def batch(digest: str, *, noise: str = NOISE, fill: float = 1000.0) -> Batch:
    frames = (fill + 20 * np.random.default_rng(1).standard_normal((1, 64, 64))).astype(np.float32)
    frames.flags.writeable = False  # as everything is that comes out of the cluster's memory
    return Batch(digest, frames, np.zeros(frames.shape, dtype=bool), noise, 0.7)


def test_it_says_its_version(worker):
    assert worker.hello() == __version__


def test_without_the_model_it_asks_for_it_and_with_it_denoises(worker, parcel):
    digest = parcel.identity.digest
    assert isinstance(worker.denoise(batch(digest)), Missing)
    assert isinstance(worker.take(parcel), Taken)
    answer = worker.denoise(batch(digest))
    assert isinstance(answer, Clean)
    assert answer.frames.dtype == np.float32
    assert answer.frames.std() < 0.8 * batch(digest).frames.std()


def test_another_digest_than_the_bundle_s_is_refused(worker, parcel):
    wrong = replace(parcel, identity=replace(parcel.identity, digest="0" * 64))
    answer = worker.take(wrong)
    assert isinstance(answer, Refused)
    assert answer.kind == "BundleError"
    assert "000000000000" in answer.words
    assert isinstance(worker.denoise(batch("0" * 64)), Missing)


def test_a_file_that_lacks_is_refused(worker, parcel):
    files = {name: content for name, content in parcel.files.items() if name != "models/model.safetensors"}
    answer = worker.take(replace(parcel, files=files))
    assert isinstance(answer, Refused)
    assert "models/model.safetensors is missing" in answer.words


def test_what_goes_wrong_is_an_answer_and_its_words_quote_no_value(worker, parcel):
    worker.take(parcel)
    digest = parcel.identity.digest
    refused = worker.denoise(batch(digest, fill=float("nan")))
    assert (refused.kind, "nan" in refused.words.lower()) == ("PixelError", True)
    unexpected = worker.denoise(replace(batch(digest), frames="PATIENT^NAME"))
    assert unexpected.kind in {"ServiceError", "PixelError"}
    assert "PATIENT" not in unexpected.words


def test_worker_without_a_word_ends_itself(monkeypatch):
    monkeypatch.setattr(bench, "seal_process", lambda: None)
    monkeypatch.setattr(bench, "log_crashes", lambda: None)
    ended = threading.Event()
    idle = Bench(1, idle_s=0.6, end=ended.set)
    for _ in range(4):
        time.sleep(0.2)
        idle.hello()
    assert not ended.is_set(), "it is spoken to"
    assert ended.wait(20)


def test_bundle_that_changed_since_its_manifest_is_not_packed(tmp_path: Path, parcel):
    for name, content in parcel.files.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert parcel_of(tmp_path / "model").identity.digest == parcel.identity.digest
    (tmp_path / "model" / "configs" / "network.json").write_text("{}")
    with pytest.raises(BundleError, match=r"network\.json is not what"):
        parcel_of(tmp_path / "model")
