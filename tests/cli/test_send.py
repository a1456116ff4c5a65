import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dae_pacs.dimse.scp import Incoming, StorageSCP

Run = Callable[..., Any]
Archive = tuple[StorageSCP, list[Incoming]]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"):
        shutil.copy(get_testdata_file(name), folder)
    return folder


@pytest.fixture
def _configured(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "dae-pacs.toml").write_text(
        '[node]\nae_title = "SENDER"\n[peers.archive]\nae_title = "ARCHIVE"\n'
        f'host = "127.0.0.1"\nport = {archive[0].port}\n'
    )


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.usefixtures("_configured")
def test_a_folder_is_sent_to_a_peer_of_the_configuration(run: Run, archive: Archive, study: Path) -> None:
    ran = run("send", "archive", study)

    assert ran.code == 0, ran.err
    assert ran.out == f"archive (ARCHIVE@127.0.0.1:{archive[0].port}): 3 sent, 0 failed.\n"
    assert len(archive[1]) == 3
    assert {incoming.calling_ae for incoming in archive[1]} == {"SENDER"}


def test_a_peer_can_be_given_by_its_address(run: Run, archive: Archive, study: Path) -> None:
    ran = run("send", f"ARCHIVE@127.0.0.1:{archive[0].port}", study / "CT_small.dcm")

    assert ran.code == 0, ran.err
    assert len(archive[1]) == 1


@pytest.mark.usefixtures("_configured")
def test_each_object_that_fails_is_named_and_the_others_go(run: Run, archive: Archive, study: Path) -> None:
    refused = study / "refused.dcm"
    ds = dcmread(get_testdata_file("CT_small.dcm"))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.13"
    ds.save_as(refused)
    (study / "letter.txt").write_text("Dear colleague")

    ran = run("send", "archive", study, study / "none.dcm")

    assert ran.code == 1
    assert ran.out.endswith("3 sent, 3 failed.\n")
    assert f"{refused}: " in ran.err
    assert "A700" in ran.err
    assert f"{study}/letter.txt: " in ran.err
    assert f"{study}/none.dcm: there is no such file" in ran.err
    assert len(archive[1]) == 3


@pytest.mark.usefixtures("_configured")
def test_an_unknown_peer_gets_the_closest(run: Run, study: Path) -> None:
    ran = run("send", "archiv", study)

    assert ran.code == 1
    assert "Peer 'archiv': is not in the configuration. Did you mean archive?" in ran.err


def test_an_unknown_peer_without_any_configured_gets_the_other_way(run: Run) -> None:
    ran = run("echo", "pacs")

    assert ran.code == 1
    assert "It has no peers. Add a table [peers.pacs], or give AE@host:port." in ran.err


@pytest.mark.parametrize("peer", ["ARCHIVE@127.0.0.1", "@h:1", "A@h:0", "A@h:many"])
def test_an_address_that_can_not_be_read_is_refused(run: Run, peer: str) -> None:
    ran = run("echo", peer)

    assert ran.code == 1
    assert ran.err.startswith("Error: ")


def test_echo_says_how_long_the_answer_took(run: Run, archive: Archive) -> None:
    ran = run("echo", f"ARCHIVE@127.0.0.1:{archive[0].port}")

    assert ran.code == 0
    assert ran.out.startswith(f"ARCHIVE@127.0.0.1:{archive[0].port} answers after ")


def test_a_peer_that_is_down_is_words_and_one(run: Run, study: Path) -> None:
    address = f"ARCHIVE@127.0.0.1:{closed_port()}"

    for ran in (run("echo", address), run("send", address, study)):
        assert ran.code == 1
        assert address in ran.err
        assert "Traceback" not in ran.err


@pytest.mark.usefixtures("_configured")
def test_what_a_person_sends_is_in_the_audit_trail(
    run: Run, archive: Archive, study: Path, tmp_path: Path
) -> None:
    with (tmp_path / "dae-pacs.toml").open("a") as file:
        file.write('[audit]\nfile = "audit.xml"\n')
    ds = dcmread(study / "CT_small.dcm")
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3.13"  # this one the archive refuses
    ds.save_as(study / "refused.dcm")

    assert run("send", "archive", study).code == 1

    messages = (tmp_path / "audit.xml").read_text().splitlines()
    begun = [line for line in messages if 'originalText="Begin Transferring DICOM Instances"' in line]
    ended = [line for line in messages if 'originalText="DICOM Instances Transferred"' in line]
    assert len(begun) == 3  # studies
    assert len(ended) == 4
    assert ["answered with status A700" in line for line in ended].count(True) == 1
    assert all("AETITLES=SENDER" in line and "AETITLES=ARCHIVE" in line for line in messages)
    assert len(messages) == 7
