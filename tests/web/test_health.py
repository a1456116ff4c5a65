"""How a real node says that it is well, and that it is not."""

import os
import signal
import time

CONFIGURATION = """
[node]
accept = "anyone"
port = 0
minimum_free_mb = 0

[retention]
make_room_below_mb = 0

[web]
port = 0
"""


def until(true, timeout_s: float = 180):
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return found


def ready(console):
    with console.client() as client:
        answer = client.get("/readyz")
        return answer.status_code, answer.json()


def test_a_node_at_rest_is_ready_in_every_part(console):
    status, told = until(lambda: (found := ready(console))[1]["state"] == "ready" and found)
    assert status == 200
    assert {told[name]["state"] for name in ("receive", "compute", "deliver")} == {"ready"}
    assert "xray_radiograph_denoising" in told["compute"]["reason"]


def test_a_part_can_be_asked_for_by_itself(console):
    with console.client() as client:
        assert client.get("/readyz/receive").json()["state"] == "ready"
        assert client.get("/readyz/nothing").status_code == 404


def test_a_worker_that_died_is_told_while_receiving_goes_on(console):
    until(lambda: ready(console)[1]["compute"]["state"] == "ready")
    os.kill(console.node.dispatcher.worker_pid, signal.SIGKILL)
    told = until(lambda: (found := ready(console)[1])["compute"]["state"] != "ready" and found)
    assert told["compute"]["state"] == "starting"
    assert told["receive"]["state"] == "ready"
    until(lambda: ready(console)[1]["compute"]["state"] == "ready")


def test_a_full_disk_is_down_with_its_reason(start_console):
    full = CONFIGURATION.replace("minimum_free_mb = 0", "minimum_free_mb = 999999999")
    console = start_console(full + "\n[metrics]\nenabled = false\n")
    status, told = ready(console)
    assert (status, told["receive"]["state"]) == (503, "down")
    assert "node.minimum_free_mb" in told["receive"]["reason"]
    with console.client() as client:
        assert client.get("/readyz/receive").status_code == 503
        assert client.get("/readyz/deliver").status_code == 200
        assert client.get("/metrics").status_code == 404  # switched off
