# ruff: noqa: E501  # a case reads best on one line
from collections.abc import Callable
from pathlib import Path

import pytest

from dae_pacs.config.load import load
from dae_pacs.errors import ConfigError

WriteConfig = Callable[[str], Path]
PEER = '[peers.orthanc]\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = 4242\n'
RULE = '[[rules]]\nname = "r"\ndestinations = ["orthanc"]\n'


def complaints(path: Path | None) -> list[str]:
    """Load a wrong configuration, and give the line about each setting."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[node]\nport = 99999", "node.port = 99999: is out of range; give a whole number from 0 to 65535, such as 11112"),
        ('[node]\nport = "many"', 'node.port = "many": is not a whole number; give a whole number from 0 to 65535'),
        ("[node]\nport = true", "node.port = true: is a truth value; give a number, without quotes"),
        ("[node]\nport = 1.5", "node.port = 1.5: is not a whole number; give"),
        ('[node]\nquiet_s = "soon"', 'node.quiet_s = "soon": is not a number; give a number above 0, such as 2.0'),
        ("[node]\nquiet_s = 0", "node.quiet_s = 0: is out of range; give a number above 0"),
        ("[node]\nlease_s = inf", "node.lease_s = inf: is out of range; give a number above 0"),
        ("[retention]\nkeep_hours = nan", "retention.keep_hours = nan: is out of range; give a number from 0"),
        ('[node]\nae_title = ""', 'node.ae_title = "": is no AE title; give 1 to 16 ASCII characters'),
        ('[node]\nae_title = "SEVENTEEN_LETTERS"', "is no AE title; give 1 to 16 ASCII characters without backslash"),
        ("[node]\nae_title = 'A\\B'", "is no AE title"),
        ('[node]\nae_title = "RÖNTGEN"', 'node.ae_title = "RÖNTGEN": is no AE title'),
        ('[node]\nbind = ""', 'node.bind = "": is too short; give text, such as "127.0.0.1"'),
        ("[node]\nspool = 3", "node.spool = 3: is not a path; give a path, such as"),
        ("[node]\nprot = 104", "node.prot = 104: is not a setting; did you mean port?"),
        ("[node]\nzzz = 1", "node.zzz = 1: is not a setting; node knows ae_title, bind, port"),
        ("nodes = 1", "nodes = 1: is not a setting; did you mean node?"),
        ("node = 1", "node = 1: is not a table; write [node] and its settings below it"),
        ("[model]\nstrength = 1.5", "model.strength = 1.5: is out of range; give a number from 0 to 1"),
        ('[model]\ndevice = "gpu"', 'model.device = "gpu": is no device; give auto, cpu, cuda'),
        ('[model]\nname = "My Model"', 'model.name = "My Model": is no name of a model bundle; give lower-case'),
        ('[log]\nlevel = "loud"', 'log.level = "loud": is not known here; give one of "DEBUG", "INFO"'),
        ('[audit]\nsyslog = "audit"', 'audit.syslog = "audit": is no address of a syslog receiver; give host:port'),
        ('[audit]\nsyslog_transport = "plain"', 'audit.syslog_transport = "plain": is not known here; give one of "tls"'),
        ("[log]\nfile = true", "log.file = true: is not a path; give a path"),
        ("[peers.pacs]\nae_title = 'A'\nport = 1", 'peers.pacs.host: is missing; give text, such as "127.0.0.1"'),
        ("[peers.pacs]\nae_title = 'A'\nhost = 'h'", "peers.pacs.port: is missing; give a whole number from 1 to 65535"),
        ("[peers]\npacs = 5", "peers.pacs = 5: is not a table; write [peers.pacs] and its settings below it"),
        ("[peers.'The PACS']", "peers.The PACS: is no name for a peer; give lower-case"),
        ("[rules]\na = 1", "rules: is not a list of tables; write [[rules]] and its settings below it"),
        ("rules = [5]", "rules[0] = 5: is not a list of tables; write [[rules]]"),
        ('[[rules]]\naction = "keep"', 'rules[0].name: is missing; give text, such as "radiographs"'),
    ],
)  # fmt: skip
def test_a_wrong_setting_gets_its_words(config_file: WriteConfig, text: str, words: str) -> None:
    assert any(words in line for line in complaints(config_file(text)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('when = { Modalty = "CT" }', 'rules[0].when.Modalty (rule "r") = "CT": is not a DICOM keyword; did you mean Modality?'),
        ('when = { modality = "CT" }', "did you mean Modality?"),
        ('when = { callingaetitle = "CT" }', "did you mean CallingAETitle?"),
        ('when = { "0008,0060" = "CT" }', "write the tag's keyword, Modality"),
        ('when = { "(0008,0060)" = "CT" }', "write the tag's keyword, Modality"),
        ('when = { qqqq = "CT" }', "give a keyword of PS3.6, such as Modality, or CallingAETitle"),
        ('when = { PixelData = "1" }', "holds items, tags or binary data, which no pattern can match"),
        ('when = { ReferencedImageSequence = "1" }', "holds items, tags or binary data"),
        ("when = 5", 'rules[0].when (rule "r") = 5: is not a table; write [rules[0].when]'),
        ("when = { Modality = true }", 'rules[0].when.Modality (rule "r") = true: is not text; give text in quotes'),
        ("when = { Modality = [true] }", "is not text; give text in quotes"),
        ('action = "denoize"', 'rules[0].action (rule "r") = "denoize": is not known here; give one of "denoise", "forward"'),
        ('priority = "ROUTINE"', 'give one of "STAT", "HIGH", "MEDIUM", "LOW"'),
        ('forward_original = "sure"', 'rules[0].forward_original (rule "r") = "sure": is not true or false'),
        ("strength = -0.1", "is out of range; give a number from 0 to 1"),
        ('description = "{sauce}"', "names {sauce}, which is not known here; give text with {source}"),
        ('description = "{source.__class__}"', "names {source.__class__}, which is not known here"),
        ('description = "{strength:q}"', "is no template"),
        ('description = "{"', "is no template"),
        ('description = ""', "is too short"),
        ('destination = "orthanc"', "is not a setting; did you mean destinations?"),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_a_rule_names_the_rule(config_file: WriteConfig, text: str, words: str) -> None:
    assert any(words in line for line in complaints(config_file(PEER + RULE + text)))


def test_an_unknown_destination_gets_the_closest_peer(config_file: WriteConfig) -> None:
    path = config_file(PEER + '[[rules]]\nname = "r"\ndestinations = ["orthank"]')

    assert complaints(path) == [
        'rules[0].destinations[0] (rule "r") = "orthank": is not the name of a peer; did you mean orthanc?'
    ]


def test_an_unknown_destination_without_a_close_peer_gets_the_peers(config_file: WriteConfig) -> None:
    path = config_file(PEER + '[[rules]]\nname = "r"\ndestinations = "archive"')

    assert "add a table [peers.archive], or use one of: orthanc" in complaints(path)[0]


@pytest.mark.parametrize("action", ["denoise", "forward"])
def test_a_rule_that_delivers_needs_a_destination(config_file: WriteConfig, action: str) -> None:
    path = config_file(f'{PEER}[[rules]]\nname = "r"\naction = "{action}"')

    (line,) = complaints(path)
    assert line.startswith(
        f'rules[0].destinations (rule "r") = []: is empty, but the rule\'s action is {action}; '
    )
    assert line.endswith("name one or more of the peers (orthanc)")


def test_a_rule_that_keeps_has_nothing_to_deliver(config_file: WriteConfig) -> None:
    path = config_file(f'{PEER}{RULE}action = "keep"')

    assert (
        'delivers nothing, but the rule has something to deliver; write action = "forward"'
        in complaints(path)[0]
    )


def test_two_rules_of_one_name_are_refused(config_file: WriteConfig) -> None:
    assert complaints(config_file(PEER + RULE + RULE)) == [
        'rules[1].name = "r": is also the name of rules[0]; give each rule a name of its own'
    ]


def test_every_error_is_reported_at_once(config_file: WriteConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_NOED__PORT", "1")
    path = config_file(
        '[node]\nport = -1\nprot = 2\n[[rules]]\nname = "r"\ndestinations = ["x"]\naction = "fly"'
    )

    keys = [line.split(" ")[0].rstrip(":") for line in complaints(path)]

    assert keys == ["environment", "node.port", "node.prot", "rules[0].action", "rules[0].destinations[0]"]


def test_a_wrong_value_of_the_environment_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_MODEL__STRENGTH", "much")

    assert complaints(None) == [
        'model.strength (from DAE_PACS_MODEL__STRENGTH) = "much": is not a number; give a number from 0 to 1'
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("DAE_PACS_NOED__PORT", "did you mean DAE_PACS_NODE?"),
        ("DAE_PACS_ZZZZZZ", "they begin with DAE_PACS_NODE, "),
    ],
)
def test_a_variable_that_is_no_setting_is_reported(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")

    assert complaints(None)[0].startswith(f"environment variable {name}: is not a setting; ")
    assert words in complaints(None)[0]


def test_an_unknown_setting_of_the_environment_gets_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_NODE__PROT", "1")

    assert complaints(None) == [
        'node.prot (from DAE_PACS_NODE__PROT) = "1": is not a setting; did you mean port?'
    ]


def test_broken_json_of_the_environment_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAE_PACS_RULES", "[")

    assert '"rules"' in complaints(None)[0]
    assert "give JSON for a list or table" in complaints(None)[0]


def test_a_long_value_is_cut_short(config_file: WriteConfig) -> None:
    line = complaints(config_file(f'[log]\nlevel = "{"x" * 500}"'))[0]

    assert "..." in line
    assert len(line) < 250


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("strengths = [0.4]", "rules[0].strengths (rule \"r\") = [0.4]: goes with a strength that is not said here; give strength, too"),
        ("strength = 0.7\nstrengths = [0.4, 0.4]", "would make the same series twice; name each strength once"),
        ("strength = 0.7\nstrengths = [0.7]", "would make the same series twice"),
        ("strength = 0.7\nstrengths = [0.74]", "would make series of the same description; write {strength:.2f}"),
        ("strength = 0.7\nstrengths = [1.4]", ": is out of range; give a list of numbers from 0 to 1, such as [0.4, 1.0]"),
        ('action = "forward"\nremoved = true', "= true: asks for a derived series, but the rule's action is forward"),
        ('compression = "zip"', '= "zip": is not known here; give one of "uncompressed"'),
    ],
)  # fmt: skip
def test_wrong_outputs_of_a_rule_get_their_words(config_file: WriteConfig, text: str, words: str) -> None:
    lines = complaints(config_file(f"{PEER}{RULE}{text}\n"))
    assert any(words in line for line in lines), lines


def test_a_rule_may_make_several_series_that_differ(config_file: WriteConfig) -> None:
    text = 'strengths = [0.45, 1]\nremoved = true\ncompression = "rle"\ndescription = "{strength:.2f}"\n'
    (rule,) = load(config_file(f"[model]\nstrength = 0.7\n{PEER}{RULE}{text}")).rules
    assert (rule.strengths, rule.removed, rule.compression) == ((0.45, 1.0), True, "rle")
