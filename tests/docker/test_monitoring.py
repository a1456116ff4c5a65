"""Alert rules and the dashboard: what they ask for exists, and an alert leads to words on what to do."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dae_pacs.web.catalogue import METRICS

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
PROMETHEUS = DOCKER / "prometheus"
DASHBOARD = json.loads((DOCKER / "grafana" / "dashboards" / "dae-pacs.json").read_text())
RULES = [
    rule
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
NAME = re.compile(r"\bdae_pacs_\w+")
SELECTOR = re.compile(r"(?P<name>dae_pacs_\w+)(?:\{(?P<labels>[^}]*)\})?")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


def _queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))


EXPRESSIONS = [*_queries(), *(rule["expr"] for rule in RULES)]


def _metric(name: str) -> Any:
    if name in METRICS and METRICS[name].kind != "histogram":
        return METRICS[name]
    base, _, suffix = name.rpartition("_")
    metric = METRICS.get(base)
    return metric if metric and f"_{suffix}" in SUFFIXES.get(metric.kind, ()) else None


def test_every_query_names_metrics_and_labels_that_exist() -> None:
    assert len(EXPRESSIONS) > 40
    for expression in EXPRESSIONS:
        for found in SELECTOR.finditer(expression):
            metric = _metric(found["name"])
            assert metric is not None, f"{found['name']} in {expression}"
            asked = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', found["labels"] or ""))
            assert asked <= {*metric.labels, "job", "le"}, expression


def test_labels_by_which_is_summed_exist() -> None:
    for expression in EXPRESSIONS:
        known = {label for name in NAME.findall(expression) for label in _metric(name).labels}
        summed = re.findall(r"by \(([^)]*)\)", expression)
        assert {label for part in summed for label in re.split(r",\s*", part)} <= known | {"le"}


def test_most_metrics_are_on_the_dashboard_or_watched_by_an_alert() -> None:
    used = {_metric(name).name for expression in EXPRESSIONS for name in NAME.findall(expression)}
    assert len(used) > 0.7 * len(METRICS)


def test_counters_are_never_shown_as_they_are() -> None:
    for expression in EXPRESSIONS:
        for name in NAME.findall(expression):
            if _metric(name).kind in {"counter", "histogram"}:
                assert "rate(" in expression or "increase(" in expression, expression


def test_panels_have_identities_places_and_the_provisioned_source() -> None:
    (source,) = yaml.safe_load(
        (DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yaml").read_text()
    )["datasources"]
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    cells = [
        (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
        for panel in DASHBOARD["panels"]
        for column in range(panel["gridPos"]["w"])
        for line in range(panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells), "panels overlap"
    assert max(column for column, _ in cells) == 23
    for panel in DASHBOARD["panels"]:
        assert all(target["datasource"]["uid"] == source["uid"] for target in panel.get("targets", []))


def test_every_alert_has_its_heading_in_the_documentation() -> None:
    page = (ROOT / "docs" / "operate.md").read_text()
    headings = set(re.findall(r"^### (\w+)$", page, flags=re.MULTILINE))
    assert {rule["alert"] for rule in RULES} == headings
    for rule in RULES:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("Debian's prometheus is not installed")
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", str(PROMETHEUS / "alerts.yml")),
        ("test", "rules", str(PROMETHEUS / "alerts.test.yml")),
        ("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml")),
    ],
    ids=["rules", "tests", "config"],
)
def test_promtool_finds_nothing(arguments: tuple[str, ...]) -> None:
    ran = _promtool(*arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "FAILED" not in ran.stdout + ran.stderr
