"""Every command and every configuration that a document shows is one that there is.

What is only parsed here (a configuration loads, a command's options exist) is run in test_pages.py where it
can be. What can't run on a test's machine says why, and is listed: nothing is passed over in silence.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args
from xml.etree import ElementTree

import pytest
import yaml
from command_lines import fault_of, span_fault, unjudged
from pages import RUN_IN_ORDER
from pydantic import BaseModel
from snippets import LANGUAGES, ROOT, Snippet, all_snippets, documents, spans_of

from dae_pacs import failpoints
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings

SNIPPETS = all_snippets()
NOT_RUN = [snippet for snippet in SNIPPETS if snippet.mark == "not run"]
SHELL = [snippet for snippet in SNIPPETS if snippet.language in ("sh", "console")]
ENDINGS = ("1", "json", "log", "md", "py", "sql", "toml", "xml")  # a file of that name
HISTORY = {"CHANGELOG.md", "decisions.md"}  # they may name what is no more


def of_language(*languages: str) -> list[Snippet]:
    return [snippet for snippet in SNIPPETS if snippet.language in languages and snippet.mark != "not run"]


def test_every_block_names_a_language_that_a_test_understands() -> None:
    assert not [
        f"{snippet}: {snippet.language!r}" for snippet in SNIPPETS if snippet.language not in LANGUAGES
    ]


def test_what_is_not_run_says_why(
    record_property: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    listed = "\n".join(f"  {snippet}: {snippet.words}" for snippet in NOT_RUN)
    with capsys.disabled():
        print(f"\n{len(NOT_RUN)} of {len(SNIPPETS)} blocks of the documents are not run here:\n{listed}")
    record_property("not_run", len(NOT_RUN))
    assert all(len(snippet.words) > 10 for snippet in NOT_RUN), listed


@pytest.mark.parametrize("snippet", of_language("toml"), ids=str)
def test_configurations_load(snippet: Snippet, tmp_path: Path) -> None:
    path = tmp_path / "dae-pacs.toml"
    path.write_text(completed(snippet.text))
    load(path)


def completed(text: str) -> str:
    """Complete a fragment by the rule: a peer that it names and does not describe is one on this machine."""
    values = tomllib.loads(text)
    named = {name for rule in values.get("rules", ()) for name in rule.get("destinations", ())}
    missing = sorted(named - {*values.get("peers", {}), *values.get("web_peers", {})})
    peers = [f'[peers.{name}]\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n' for name in missing]
    return "\n".join([text, *peers])


@pytest.mark.parametrize("snippet", of_language("json"), ids=str)
def test_json_is_whole_or_the_inside_of_an_object(snippet: Snippet) -> None:
    text = snippet.text
    json.loads(text if text.lstrip()[0] in "{[" else "{" + text.rstrip().rstrip(",") + "}")


@pytest.mark.parametrize("snippet", of_language("yaml", "xml"), ids=str)
def test_other_texts_parse(snippet: Snippet) -> None:
    parse = {"yaml": yaml.safe_load, "xml": ElementTree.fromstring}
    assert parse[snippet.language](snippet.text) is not None


def test_python_runs(tmp_path: Path) -> None:
    for snippet in of_language("python"):
        if snippet.document.name not in RUN_IN_ORDER:
            subprocess.run([sys.executable, "-c", snippet.text], cwd=tmp_path, check=True, timeout=120)


@pytest.mark.parametrize("snippet", SHELL, ids=str)
def test_commands_are_those_that_there_are(snippet: Snippet) -> None:
    subprocess.run(["bash", "-n"], input="\n".join(snippet.commands), text=True, check=True, timeout=20)
    if snippet.mark == "not run" or snippet.document.name in RUN_IN_ORDER:
        programs = []
    else:
        programs = [program for command in snippet.commands for program in unjudged(command)]
    assert not programs, f"{snippet}: only running it judges {programs}; run the page, or say why it can't be"
    faults = [f"{command}: {fault}" for command in snippet.commands if (fault := fault_of(command))]
    assert not faults, f"{snippet}: {faults}"


@pytest.mark.parametrize(
    "document", [path for path in documents() if path.name not in HISTORY], ids=lambda path: path.name
)
def test_commands_and_settings_named_in_sentences_exist(document: Path) -> None:
    faults = []
    for line, span in spans_of(document):
        words = span.split()
        if len(words) > 1 and words[0] == "dae-pacs" and (fault := span_fault(words[1:])):
            faults.append(f"{document.name}:{line}: {span}: {fault}")
        setting = re.match(rf"({'|'.join(Settings.model_fields)})\.([A-Za-z0-9_.-]+)( =.*)?$", span)
        if setting and not _is_setting(f"{setting[1]}.{setting[2]}"):
            faults.append(f"{document.name}:{line}: there is no setting {span}")
    assert not faults, "\n".join(faults)


def _is_setting(path: str) -> bool:
    section, *names = path.split(".")
    model = _models_of(Settings.model_fields[section].annotation)
    if section in ("peers", "senders") and len(names) == 2:
        names = names[1:]  # peers.NAME.host
    if not names or names[-1] in ENDINGS or path in failpoints.POINTS:
        return True
    if (ROOT / "dae_pacs" / section / f"{names[0]}.py").is_file():
        return True  # a module of that name, node.receive
    return any(names[0] in inner.model_fields for inner in model)


def _models_of(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_of(inner)]
