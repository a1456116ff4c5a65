"""Ctrl-C in a fetch: the archive is told to stop, and what came stays."""

import signal
import subprocess
import sys
import time
from pathlib import Path

from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

from dae_pacs.demo.phantoms import Study, ct_series

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the tests' own module

from scripted_archive import archive, find_among


def test_the_archive_is_told_to_stop_and_what_came_stays(tmp_path):
    objects, told = ct_series(Study(patient_id="P1"), slices=30, size=32), []

    def get(event):
        yield len(objects)
        for ds in objects:
            if event.is_cancelled:
                told.append(True)
                yield 0xFE00, None
                return
            time.sleep(0.3)
            yield 0xFF00, ds

    models = (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelGet)
    with archive(*models, find=find_among(objects), get=get) as peer:
        (tmp_path / "dae-pacs.toml").write_text(
            f'[peers.slow]\nae_title = "{peer.ae_title}"\nhost = "127.0.0.1"\nport = {peer.port}\n'
        )
        into = tmp_path / "set"
        command = [
            sys.executable,
            "-m",
            "dae_pacs",
            "fetch",
            "slow",
            "--patient",
            "P1",
            "--to",
            into,
            "--yes",
        ]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 30
        while not list(into.rglob("*.dcm")):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err.decode()
    assert told
    assert "what came stays" in err.decode()
    assert "0 series fetched, 1 failed" in out.decode()
    assert 1 <= len(list(into.rglob("*.dcm"))) < 30
    assert not list(into.glob(".fetching-*"))
