"""A foreman that dies: whoever waits for a batch hears it."""

import socket

import numpy as np
import pytest

from dae_pacs.cluster import foreman, link
from dae_pacs.cluster.messages import Batch
from dae_pacs.cluster.parcel import parcel_of
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.errors import ClusterError
from dae_pacs.resources import find_bundle

PARCEL = parcel_of(find_bundle("xray_radiograph_denoising"))
FRAMES = np.zeros((1, 8, 8), np.float32)


# The thread's death is the point of the test; it is logged and mended.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("lives_for", [0, 1])
def test_batches_are_answered_where_joining_fails_in_an_unforeseen_way(monkeypatch, lives_for):
    tries = []

    def join(**_options):
        tries.append(True)
        raise (RuntimeError if len(tries) <= lives_for else AssertionError)("made up by a test")

    monkeypatch.setattr(link.ray, "init", join)
    monkeypatch.setattr(foreman, "JOIN_PAUSE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        boss = foreman.Foreman(ComputeSettings(engine="ray", address=address))
        batch = Batch(PARCEL.identity.digest, FRAMES, FRAMES > 1, "{}", 1.0)
        for _ in range(3):
            answer = boss.give(PARCEL, batch)
            with pytest.raises(ClusterError, match=r"the connection to it ended|can't be joined"):
                answer.result(30)
        assert len(tries) > lives_for + 1
        boss.close()
