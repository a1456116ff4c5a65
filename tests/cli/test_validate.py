from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

from dae_pacs.demo.phantoms import Study, ct_series, write_all
from dae_pacs.image import files, pixels
from dae_pacs.image.derive import Derivation, derive
from dae_pacs.image.header import read_header
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.records import NewInstance, Plan

Run = Callable[..., object]
DERIVATION = Derivation("model", "1", "ab" * 32, 0.7, "{source} denoised", "DAE_PACS")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    return write_all(ct_series(Study(), slices=1, size=64), tmp_path / "originals")[0]


@pytest.fixture
def result(original: Path, tmp_path: Path) -> Path:
    source = files.read(original)
    stored = pixels.decode(source).stored.copy()
    stored[0, 30, 30] += 1
    ds = derive(
        source,
        stored,
        derivation=DERIVATION,
        content_digest="c",
        series_number=1001,
        now=datetime(2026, 3, 4, tzinfo=UTC),
    )
    path = tmp_path / "results" / "derived.dcm"
    path.parent.mkdir()
    files.write(ds, path)
    return path


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_right_object_gets_its_differences_in_words(
    run: Run, original: Path, result: Path, *, is_folder: bool
) -> None:
    ran = run("validate", result, "--source", original.parent if is_folder else original)
    assert ran.code == 0, ran.err
    assert "is a right derivation of its source" in ran.out
    assert "ImageType: changed, as the rule for ImageType wants" in ran.out
    assert "elements are the source's, byte for byte" in ran.out


def test_a_wrong_object_is_named_and_ends_with_1(run: Run, original: Path, result: Path) -> None:
    ds = dcmread(result)
    ds.PatientName = "Somebody^Else"
    ds.save_as(result)
    ran = run("validate", result, "--source", original)
    assert ran.code == 1
    assert "WRONG PatientName: differs from the source's, and no rule changes it" in ran.out
    assert "Somebody" not in ran.out


def test_the_source_is_found_beside_the_object(run: Run, original: Path, result: Path) -> None:
    (result.parent / "original.dcm").write_bytes(original.read_bytes())
    assert run("validate", result).code == 0


def test_the_source_is_found_in_the_nodes_spool(
    run: Run, original: Path, result: Path, tmp_path: Path
) -> None:
    spool = SpoolFiles(tmp_path / "spool")
    with original.open("rb") as file:
        header = read_header(file)
    with Ledger(spool.ledger_path) as ledger:
        kept = spool.objects / "aa" / "kept.dcm"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(original.read_bytes())
        ledger.keep(_new(str(header.SOPInstanceUID), kept), Plan("keep"))
    assert run("validate", result).code == 0


def test_a_source_that_is_nowhere_is_told(run: Run, result: Path) -> None:
    ran = run("validate", result)
    assert ran.code == 1
    assert "its source is not in" in ran.err


def _new(uid: str, path: Path) -> NewInstance:
    texts = dict.fromkeys(
        ("PatientID", "AccessionNumber", "StudyDate", "Modality", "SeriesDescription", "digest"), ""
    )
    texts |= dict.fromkeys(("calling_ae", "called_ae", "address", "association"), "")
    return NewInstance(
        SOPClassUID="1.2",
        SOPInstanceUID=uid,
        StudyInstanceUID="1.2.3",
        SeriesInstanceUID="1.2.4",
        SeriesNumber=1,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        path=path,
        size_bytes=path.stat().st_size,
        expected_count=None,
        received_at=0.0,
        **texts,
    )
