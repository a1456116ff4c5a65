"""What a peer was asked for stands in a study's time line: by whom, why, and how it went."""

from dae_pacs.spool.pulls import Pull
from dae_pacs.spool.states import PullStatus
from dae_pacs.web.timeline import requests


def _pull(number: int, **changes) -> Pull:
    values = {
        "id": number,
        "rule": "priors",
        "peer": "pacs",
        "StudyInstanceUID": "1.2",
        "SeriesInstanceUID": f"1.2.{number}",
        "PatientID": "P1",
        "reason": "prior of study 1.1",
        "status": PullStatus.PULLED,
        "announced": 3,
        "arrived": 3,
        "attempts": 1,
        "next_try_at": 10.0,
        "error": None,
        "asked_at": 10.0,
        "pulled_at": 20.0,
    }
    return Pull(**(values | changes))


def test_series_that_were_asked_for_together_are_told_together():
    (event,) = requests([_pull(1), _pull(2)])
    assert event.title == "Pull rule “priors” asked pacs for 2 series: prior of study 1.1"
    assert (event.lines, event.tone) == (("6 objects here afterwards.",), "ok")


def test_what_waits_is_open_and_what_was_given_up_says_what_to_do():
    waiting = _pull(1, status=PullStatus.WAITING, arrived=None, attempts=0, next_try_at=99.0)
    failed = _pull(2, rule="", status=PullStatus.FAILED, arrived=1, error="pacs: connection refused")
    told = {event.title.split(" asked")[0]: event for event in requests([waiting, failed])}
    assert (told["Pull rule “priors”"].is_open, told["Pull rule “priors”"].then) == (True, 99.0)
    assert told["A person"].lines == ("1 object here afterwards.", "pacs: connection refused")
    assert "dae-pacs fetch" in told["A person"].to_do
