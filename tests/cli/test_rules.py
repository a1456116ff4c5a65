from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom.data import get_testdata_file

Run = Callable[..., Any]

CONFIG = """
[peers.pacs]
ae_title = "PACS"
host = "127.0.0.1"
port = 104

[[rules]]
name = "emergency"
when = { CallingAETitle = "ER*" }
destinations = "pacs"
priority = "STAT"

[[rules]]
name = "ct"
when = { Modality = "CT" }
destinations = "pacs"
strength = 0.6
"""


@pytest.fixture(autouse=True)
def _configured(tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text(CONFIG)


CT = Path(get_testdata_file("CT_small.dcm"))


def test_the_rule_that_fires_and_those_before_it_are_explained(run: Run) -> None:
    ran = run("rules", "try", CT, "--calling-ae", "GANTRY")

    assert ran.code == 0
    assert ran.out.splitlines() == [
        str(CT),
        '  rule 1 "emergency" does not match: CallingAETitle is "GANTRY", not "ER*"',
        '  rule 2 "ct" matches: Modality is "CT", as "CT" asks',
        "  denoised with xray_radiograph_denoising at strength 0.6, delivered to pacs",
    ]


def test_the_calling_ae_title_decides(run: Run) -> None:
    assert 'rule 1 "emergency" matches' in run("rules", "try", CT, "--calling-ae", "ER1").out


def test_a_file_that_is_no_dicom_is_named(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "letter.txt"
    other.write_text("Dear colleague")

    ran = run("rules", "try", other, CT)

    assert ran.code == 1
    assert f"Error: {other}: " in ran.err
    assert 'rule 2 "ct" matches' in ran.out


def test_a_path_to_nothing_is_named(run: Run, tmp_path: Path) -> None:
    ran = run("rules", "try", tmp_path / "none.dcm")

    assert ran.code == 1
    assert f"{tmp_path}/none.dcm: there is no such file or folder." in ran.err
