"""A worker process's own: a model whose files change under a running node, and the pipe it listens to."""

import shutil
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest

from dae_pacs.config.model import LogSettings
from dae_pacs.denoise.bundle import load_bundle, write_manifest
from dae_pacs.denoise.manifest import bundle_digest
from dae_pacs.errors import BundleError, ModelError
from dae_pacs.node import pipeline, worker
from dae_pacs.node.events import Failed
from dae_pacs.node.worker import Models, WorkerSettings
from dae_pacs.resources import models_folder
from dae_pacs.spool.files import SpoolFiles

NAME = "ct_volume_denoising"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(models_folder() / NAME, tmp_path / "models" / NAME))


def models(bundle: Path, digest: str) -> Models:
    folder = bundle.parent
    return Models(WorkerSettings("cpu", NAME, folder, folder / "spool", LogSettings(), {NAME: digest}))


def swap(bundle: Path) -> None:
    """Put another model in its place, one that is whole in itself."""
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(metadata.read_text().replace('"default_strength": 0.7', '"default_strength": 0.9'))
    write_manifest(bundle)


def test_a_swap_leaves_what_is_loaded_alone_and_is_refused_at_the_next_load(bundle: Path) -> None:
    digest = bundle_digest(bundle)
    held = models(bundle, digest)
    before = held.get(NAME)

    swap(bundle)
    assert load_bundle(bundle)  # whole, and another
    assert held.get(NAME) is before
    assert before.identity.digest == digest

    with pytest.raises(BundleError, match="changed since the node started"):
        models(bundle, digest).get(NAME)
    assert models(bundle, bundle_digest(bundle)).get(NAME).identity.default_strength == 0.9


def test_a_swap_of_one_file_is_refused_at_the_next_load(bundle: Path) -> None:
    digest = bundle_digest(bundle)
    (bundle / "configs" / "metadata.json").write_text("{}")
    with pytest.raises(BundleError, match=r"is not what manifest\.json says"):
        models(bundle, digest).get(NAME)


def test_the_receiving_process_asks_for_digests_without_torch() -> None:
    program = "import sys, dae_pacs.node.lifecycle; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


class OneModel:
    """Stands where a worker's models do, and has one."""

    def __init__(self, denoiser) -> None:
        self._denoiser = denoiser

    def get(self, _name: str):
        return self._denoiser


def test_what_still_reads_for_a_task_that_failed_leaves_the_next_one_in_the_pipe(
    make_task, denoiser, monkeypatch, tmp_path
):
    decode_run, reading = pipeline.decode_run, threading.Event()

    def slow(*arguments):
        if reading.is_set():
            time.sleep(0.05)
        return decode_run(*arguments)

    def fail(*_arguments, **_options):
        reading.set()
        raise ModelError("broken")

    monkeypatch.setattr(pipeline, "decode_run", slow)
    monkeypatch.setattr(denoiser, "denoise", fail)
    monkeypatch.setattr(denoiser, "batch_pixels", 8 * 64 * 64, raising=False)
    node, ours = Pipe()
    task = make_task(slices=40)

    def dispatch():
        while not isinstance(node.recv(), Failed):
            continue
        node.send("the next task")  # as the dispatcher does, at once

    dispatcher = threading.Thread(target=dispatch)
    dispatcher.start()

    worker._do(task, OneModel(denoiser), SpoolFiles(tmp_path / "spool"), ours)

    dispatcher.join()
    time.sleep(1.0)  # what was being read is through by then
    assert ours.poll()
    assert ours.recv() == "the next task"
