"""What is asked of peers is in the ledger: once, whoever asks, and after a restart too."""

import pytest

from dae_pacs.spool.pulls import BY_HAND, Wish
from dae_pacs.spool.records import Plan
from dae_pacs.spool.states import PullStatus


def _wish(series="1.2.1", *, announced=2, study="1.2"):
    return Wish(study, series, announced, "asked for by a test")


def _pull(spool, rule="night", **changes):
    (pull,) = spool.ledger.pulls.due(rule, now=1e6, limit=9) or [None]
    return pull


@pytest.fixture
def rule(spool):
    spool.ledger.pulls.rule("night")
    return spool.ledger.pulls


def test_a_series_is_wished_for_once_whoever_wishes(rule):
    assert rule.wish("night", "pacs", wishes=[_wish(), _wish()], now=10.0) == 1
    assert rule.wish("day", "pacs", wishes=[_wish()], now=11.0) == 0
    assert [pull.SeriesInstanceUID for pull in rule.due("night", now=10.0, limit=9)] == ["1.2.1"]
    assert rule.due("day", now=12.0, limit=9) == []


def test_what_is_pulled_is_wished_for_again_only_where_it_has_grown(spool, rule):
    rule.wish("night", "pacs", wishes=[_wish()], now=10.0)
    rule.pulled(_pull(spool).id, arrived=2, now=20.0)
    assert rule.wish("night", "pacs", wishes=[_wish(), _wish(announced=None)], now=30.0) == 0
    assert rule.wish("night", "pacs", wishes=[_wish(announced=3)], now=30.0) == 1
    assert _pull(spool).announced == 3


def test_what_is_here_or_was_here_is_not_wished_for(spool, rule):
    spool.keep("1.2.3", Plan("keep"))
    assert rule.wish("night", "pacs", wishes=[_wish(announced=1)], now=10.0) == 0
    (instance,) = spool.ledger.removable(1e9)
    spool.ledger.remove(instance.id)
    assert rule.held("1.2.1", "1.2") == frozenset()
    assert rule.wish("night", "pacs", wishes=[_wish(announced=1)], now=10.0) == 0
    assert rule.wish("night", "pacs", wishes=[_wish(announced=2)], now=10.0) == 1


def test_our_own_series_are_never_wished_for(spool, rule):
    spool.keep("1.2.3")
    spool.denoise()
    (own,) = [one for one in spool.ledger.study_story("1.2").instances if one.origin == "derived"]
    assert rule.is_ours(own.SeriesInstanceUID, "1.2")
    assert rule.wish("night", "pacs", wishes=[_wish(own.SeriesInstanceUID)], now=10.0) == 0


def test_what_did_not_come_waits_longer_each_time_and_is_given_up(spool, rule):
    rule.wish("night", "pacs", wishes=[_wish()], now=10.0)
    pull = _pull(spool)
    assert rule.missed(pull.id, arrived=1, error="cut", now=20.0, most_tries=2) is PullStatus.WAITING
    assert rule.due("night", now=25.0, limit=9) == []
    spool.reopen()
    pulls = spool.ledger.pulls
    assert _pull(spool).attempts == 1
    assert pulls.missed(pull.id, arrived=1, error="cut", now=1e6, most_tries=2) is PullStatus.FAILED
    assert pulls.rule("night").failed == 1
    assert pulls.wish("night", "pacs", wishes=[_wish()], now=30.0) == 0


def test_a_rule_s_failures_survive_a_restart(spool, rule):
    next_try_at = rule.failed("night", error="down", now=100.0)
    assert next_try_at > 105.0
    spool.reopen()
    state = spool.ledger.pulls.rule("night")
    assert (state.failures, state.error, state.next_try_at) == (1, "down", next_try_at)
    spool.ledger.pulls.worked("night")
    assert spool.ledger.pulls.rule("night").failures == 0


def test_arrivals_are_those_that_were_sent_to_us_since_the_rule_is_there(spool):
    spool.keep("1.1.1", StudyInstanceUID="1.1", SeriesInstanceUID="1.1.9")
    pulls = spool.ledger.pulls
    pulls.rule("priors")
    spool.keep("1.2.3")
    spool.keep("1.3.3", StudyInstanceUID="1.3", SeriesInstanceUID="1.3.1")
    pulls.wish("priors", "pacs", wishes=[_wish("1.3.2", study="1.3")], now=10.0)
    (arrived,) = pulls.arrivals("priors", limit=9)
    assert (arrived.StudyInstanceUID, arrived.Modality) == ("1.2", "CT")
    pulls.seen("priors", arrived.id)
    assert pulls.arrivals("priors", limit=9) == []


def test_a_study_s_story_says_who_asked_for_it_and_why(spool):
    spool.keep("1.2.3")
    spool.ledger.pulls.note("pacs", wish=_wish(), now=10.0, arrived=2, error=None)
    (pull,) = spool.ledger.study_story("1.2").pulls
    assert (pull.rule, pull.reason, pull.arrived) == (BY_HAND, "asked for by a test", 2)


def test_the_backlog_counts_jobs_and_deliveries(spool, rule):
    assert rule.backlog(most=10) == 0
    spool.keep("1.2.3")
    assert rule.backlog(most=10) == 1


def test_a_person_s_fetch_that_fails_leaves_a_rule_s_pull_waiting(spool, rule):
    rule.wish("night", "pacs", wishes=[_wish()], now=10.0)
    rule.note("pacs", wish=_wish(), now=20.0, arrived=0, error="down")
    assert _pull(spool).status is PullStatus.WAITING
    rule.note("pacs", wish=_wish(), now=30.0, arrived=2, error=None)
    (pull,) = rule.of_study("1.2")
    assert (pull.status, pull.rule, pull.pulled_at) == (PullStatus.PULLED, "night", 30.0)
