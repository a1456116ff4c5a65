"""An object that offers a plain copy of itself, for peers that do not take its own transfer syntax."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dae_pacs.dimse import scu
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import PixelError

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
RLE = "1.2.840.10008.1.2.5"

Sample = Callable[[str], Path]


def test_a_plain_copy_goes_where_the_own_syntax_is_refused(
    sample: Sample, start_storescp: Any, tmp_path: Path
) -> None:
    made: list[Path] = []

    @contextlib.contextmanager
    def plain() -> Iterator[Path]:
        made.append(sample("CT_small.dcm"))
        yield made[-1]

    whole = scu.outgoing(sample("CT_small.dcm"))
    item = scu.Outgoing(tmp_path / "none", CT, whole.SOPInstanceUID, RLE, copies={EXPLICIT: plain})
    results: list[scu.SendResult] = []
    scu.send(start_storescp("+x=").peer, [item], calling_ae="TESTER", on_result=results.append)
    assert [(result.outcome, result.outgoing) for result in results] == [(Outcome.SENT, item)]
    assert len(made) == 1
    assert item.contexts == ((CT, RLE), (CT, EXPLICIT))


def test_a_plain_copy_is_not_made_where_the_own_syntax_is_taken(sample: Sample, start_storescp: Any) -> None:
    @contextlib.contextmanager
    def plain() -> Iterator[Path]:
        pytest.fail("nobody asked for it")
        yield Path()

    path = sample("CT_small.dcm")
    whole = scu.outgoing(path)
    item = scu.Outgoing(path, CT, whole.SOPInstanceUID, whole.transfer_syntax_uid, copies={EXPLICIT: plain})
    results: list[scu.SendResult] = []
    scu.send(start_storescp("+x=").peer, [item], calling_ae="TESTER", on_result=results.append)
    assert [result.outcome for result in results] == [Outcome.SENT]
    assert item.contexts == ((CT, EXPLICIT),)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(PixelError("broken"), Outcome.DEAD), (OSError(28, "No space left on device"), Outcome.RETRY)],
)
def test_a_plain_copy_that_fails_is_told_and_the_others_go_on(
    sample: Sample, start_storescp: Any, tmp_path: Path, *, error: Exception, outcome: Outcome
) -> None:
    @contextlib.contextmanager
    def plain() -> Iterator[Path]:
        raise error
        yield Path()

    whole = scu.outgoing(sample("CT_small.dcm"))
    item = scu.Outgoing(tmp_path / "none", CT, "1.2.3", RLE, copies={EXPLICIT: plain})
    results: list[scu.SendResult] = []
    scu.send(start_storescp("+x=").peer, [item, whole], calling_ae="TESTER", on_result=results.append)
    assert [result.outcome for result in results] == [outcome, Outcome.SENT]
    assert "no copy can be" in results[0].message
