import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest

from dae_pacs.dimse import scp, scu
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import (
    NotDicomError,
    PixelError,
    SpoolError,
    SpoolFullError,
)

Sample = Callable[[str], Path]


def send_all(peer: scu.PeerAddress, *paths: Path) -> list[scu.SendResult]:
    results: list[scu.SendResult] = []
    scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae="TESTER", on_result=results.append)
    return results


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpoolFullError("no room"), 0xA700),
        (SpoolError("ledger locked"), 0xA700),
        (OSError(28, "No space left on device"), 0xA700),
        (MemoryError(), 0xA700),
        (NotDicomError("cut off"), 0xC000),
        (PixelError("no pixels"), 0xC000),
        (ZeroDivisionError("Doe^Jane"), 0x0110),
        (KeyError("PatientName"), 0x0110),
    ],
)
def test_object_that_is_not_kept_is_refused_and_dropped(
    start_node: Any, sample: Sample, error: Exception, status: int
) -> None:
    def keep(_incoming: scp.Incoming) -> scp.Answer:
        raise error

    node = start_node(keep=keep)
    first, second = send_all(node.peer, sample("CT_small.dcm"), sample("MR_small.dcm"))
    assert (first.status, second.status) == (status, status)
    assert node.files() == []


def test_file_that_can_not_be_opened_refuses_the_object(start_node: Any, sample: Sample) -> None:
    def open_file() -> scp.SpoolFile:
        raise SpoolFullError("disk full")

    node = start_node(open_file=open_file)
    result = send_all(node.peer, sample("CT_small.dcm"))[0]
    assert (result.outcome, result.status) == (Outcome.RETRY, 0xA700)
    assert "no room left in the spool" in result.message


def test_answer_of_keep_reaches_the_sender_with_its_comment_cut_to_64(
    start_node: Any, sample: Sample
) -> None:
    node = start_node(keep=lambda _incoming: scp.Answer(0xA900, "SOP Instance UID differs \\ ä " + "x" * 80))
    result = send_all(node.peer, sample("CT_small.dcm"))[0]
    assert result.status == 0xA900
    assert result.outcome is Outcome.DEAD
    comment = result.message.split(": ", 1)[1]
    assert comment == ("SOP Instance UID differs ? ? " + "x" * 80)[:64]


def test_log_carries_no_uid_and_no_name_of_a_patient(
    start_node: Any, sample: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    def keep(_incoming: scp.Incoming) -> scp.Answer:
        raise ValueError("CompressedSamples^CT1")

    caplog.set_level(logging.DEBUG, logger="dae_pacs")
    node = start_node(keep=keep)
    ds = pydicom.dcmread(sample("CT_small.dcm"))
    send_all(node.peer, sample("CT_small.dcm"))
    node.wait_for("ended")
    written = " ".join(str(record.__dict__) for record in caplog.records)
    assert "association accepted" in written
    assert "test_refusals.py" in written
    for secret in (str(ds.PatientName), ds.PatientID, ds.SOPInstanceUID, ds.StudyInstanceUID):
        assert secret not in written
