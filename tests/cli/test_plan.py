"""`dae-pacs plan`, as a person calls it."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dae_pacs.cli import plan
from dae_pacs.cli.app import app
from dae_pacs.cli.plan import PlanOptions
from dae_pacs.errors import ConfigError

USUAL = PlanOptions(
    per_hour=10,
    mix="ct=1,dx=1",
    kinds=(),
    machine="cpu",
    peak=3,
    keep_hours=168,
    outputs=1,
    destinations=1,
    workers=None,
    archive=None,
    days=None,
    measure=False,
    model=None,
    config=None,
    as_json=True,
)


def _facts(capsys: pytest.CaptureFixture[str], **changes: object) -> dict[str, object]:
    assert plan.run(replace(USUAL, **changes)) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_the_answer_names_the_bottleneck_and_what_a_study_waits(capsys: pytest.CaptureFixture[str]) -> None:
    facts = _facts(capsys)

    assert facts["bottleneck"] == "compute"
    waits = facts["waits"]
    assert waits["compute_alone_s"] < waits["mean_s"] < waits["p95_s"]


def test_too_few_workers_are_said_to_be_too_few(capsys: pytest.CaptureFixture[str]) -> None:
    assert _facts(capsys, per_hour=1000, workers=1)["waits"] is None

    plan.run(replace(USUAL, per_hour=1000, workers=1, as_json=False))
    assert "It can't keep up" in capsys.readouterr().out


def test_a_table_is_printed_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    plan.run(replace(USUAL, as_json=False, archive=1e8, days=365))

    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "The bottleneck is compute",
        "receive",
        "deliver",
        "1 node",
        "The archive, once: 2",
        "TB in",
    ):
        assert words in out


def test_an_unknown_machine_is_explained() -> None:
    with pytest.raises(ConfigError, match="not measured; there are cpu, h100"):
        plan.run(replace(USUAL, machine="quantum"))


@pytest.mark.slow
def test_this_machine_can_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "dae-pacs.toml"
    config.write_text('[node]\nspool = "spool"\n[model]\ndevice = "cpu"\n')

    measured = _facts(capsys, measure=True, config=config)["measured"]

    assert measured["name"] == "this machine"
    assert measured["shares_cores"] is True
    assert measured["denoise_s_a_megapixel"] > 0
    assert measured["receive_s_an_object"] > 0
    assert list(tmp_path.iterdir()) == [config], "what was measured with is cleared away"


DOCUMENT = Path(__file__).parents[2] / "docs" / "plan.md"
SHOWN = re.findall(r"```console\n\$ dae-pacs (plan[^\n]*)\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_what_the_documentation_shows_is_what_is_printed(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    result = CliRunner().invoke(app, command.split())

    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == output.splitlines()
