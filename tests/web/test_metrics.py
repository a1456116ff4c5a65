"""`/metrics` of a real node: what it says is true, documented, and names no patient."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.dimse.scu import outgoing, send
from dae_pacs.web.catalogue import METRICS, reference

TOKEN = "a-token-of-48-hexadecimal-digits"
CONFIGURATION = """
[node]
accept = "anyone"
port = 0
quiet_s = 0.2
minimum_free_mb = 0

[web]
port = 0

[metrics]
token_file = "token"

[peers.pacs]
ae_title = "NOBODY"
host = "127.0.0.1"
port = 9

[[rules]]
name = "ct"
when = { Modality = "CT" }
action = "forward"
destinations = ["pacs"]
"""
ROOT = Path(__file__).resolve().parents[2]
PATIENT = Study(name="Meier^Anna", patient_id="PID-4711")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def busy(console, tmp_path_factory) -> str:
    """Let a node take a small series for a peer that is not there, and give what it says then."""
    (console.settings.metrics.token_file).write_text(TOKEN + "\n")
    series = ct_series(PATIENT, slices=3, size=64)
    paths = write_all(series, tmp_path_factory.mktemp("series"))
    send(
        console.address,
        [outgoing(path) for path in paths],
        calling_ae="CT1",
        on_result=lambda _result: None,
    )
    deadline = time.monotonic() + 180
    while True:
        with console.client() as client:
            text = client.get("/metrics").text
        seen = samples_of(text)
        tried = seen.get(("dae_pacs_send_failures_total", (("destination", "pacs"),)), 0)
        if tried and seen.get(("dae_pacs_model_loaded", ())) == 1 and not seen[UNRECORDED]:
            return text
        assert time.monotonic() < deadline, text
        time.sleep(0.2)


UNRECORDED = ("dae_pacs_unrecorded_instances", ())


def test_what_came_in_is_counted(busy, console):
    seen = samples_of(busy)
    assert seen["dae_pacs_up", ()] == seen["dae_pacs_ledger_up", ()] == 1
    assert seen["dae_pacs_received_instances_total", (("by", "dimse"),)] == 3
    assert seen["dae_pacs_store_responses_total", (("by", "dimse"), ("status", "0000"))] == 3
    assert seen["dae_pacs_received_bytes_total", (("by", "dimse"),)] > 3 * 64 * 64 * 2
    assert seen["dae_pacs_associations_accepted_total", ()] == 1
    assert seen["dae_pacs_instances", (("origin", "received"), ("status", "kept"))] == 3
    assert seen["dae_pacs_worker_up", ()] == seen["dae_pacs_worker_starts_total", ()] == 1


def test_what_is_owed_is_told_with_its_age(busy):
    seen = samples_of(busy)
    waiting = (("destination", "pacs"), ("status", "waiting"))
    assert seen["dae_pacs_deliveries", waiting] == 3
    assert seen["dae_pacs_delivery_oldest_age_seconds", (("destination", "pacs"),)] > 0
    states = [value for (name, _), value in seen.items() if name == "dae_pacs_destination_breaker"]
    assert sorted(states) == [0, 0, 0, 1]


def test_no_label_names_a_patient_a_study_or_an_object(busy):
    for private in ("Meier", "4711", PATIENT.uid, "CT1", "127.0.0.1"):
        assert private not in busy


def test_every_metric_is_in_the_catalogue_with_its_labels(busy):
    for family in text_string_to_metric_families(busy):
        metric = next(one for one in METRICS.values() if family.name in {one.name, one.family})
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels)
        assert family.documentation == metric.help


def test_the_reference_is_what_the_catalogue_says():
    assert (ROOT / "docs" / "metrics.md").read_text() == reference(), (
        "docs/metrics.md is stale; python -m dae_pacs.web.catalogue > docs/metrics.md"
    )


def test_promtool_finds_nothing(busy):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Debian's prometheus is not installed")
    ran = subprocess.run(
        [promtool, "check", "metrics"], input=busy.encode(), capture_output=True, check=False
    )
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, b"")


def test_openmetrics_is_spoken_where_it_is_asked_for(busy, console):
    with console.client() as client:
        answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_from_elsewhere_the_token_is_needed(busy, console, headers, status):
    with console.client() as client:
        answer = client.get("/metrics", headers={"X-Forwarded-For": "10.1.2.3"} | headers)
    assert answer.status_code == status
    assert ("dae_pacs_up" in answer.text) is (status == 200)


def test_a_node_that_does_not_answer_costs_its_own_figures_alone(busy, console):
    """Its desk is closed, which leaves the console as a hung node would; the last test of this module."""
    console.web._desk.close()
    with console.client() as client:
        answer = client.get("/metrics", timeout=30)
        ready = client.get("/readyz", timeout=30)
        alive = client.get("/healthz")
    seen = samples_of(answer.text)
    assert seen["dae_pacs_up", ()] == 0
    assert seen["dae_pacs_ledger_up", ()] == 1
    assert "dae_pacs_received_instances_total" not in answer.text
    assert (ready.status_code, ready.json()["state"]) == (503, "down")
    assert (alive.status_code, alive.json()) == (200, {"state": "ready"})
