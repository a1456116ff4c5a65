"""What pages ask: right, and by indexes alone."""

import pytest

from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.outbox import Fate
from dae_pacs.spool.records import Plan
from dae_pacs.spool.search import PAGE, Question, State
from dae_pacs.spool.states import DeliveryStatus, InstanceStatus, JobStatus, Origin

FORWARD = Plan("forward", rule="all", destinations=("PACS",))
DENOISE = Plan("denoise", rule="ct", model="m", strength=0.5, destinations=("PACS",), description="{source}")


def _look(ledger, now=6000.0):
    return ledger.views.overview(now=now, midnight=0.0, peers=["PACS", "NEVER"], breaker_after=5)


def _found(ledger, **known):
    return [found.study.StudyInstanceUID for found in ledger.views.search(Question(**known)).studies]


@pytest.fixture
def filled(spool):
    """Five studies, each in another state."""
    spool.keep("1.1", FORWARD, StudyInstanceUID="1.1", SeriesInstanceUID="1.1.1", PatientID="ANNA1")
    spool.deliver(now=200.0)
    spool.keep("1.2", DENOISE, StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1", AccessionNumber="ACC77")
    spool.denoise()
    spool.tell(spool.take(), Fate.HOPELESS, "refused: no such patient")
    spool.keep("1.3", Plan("pass_over", rule="ct", reason="no pixels"), StudyInstanceUID="1.3", Modality="SR")
    spool.keep("1.4", Plan("keep"), StudyInstanceUID="1.4", SeriesDescription="Knee LEFT")
    spool.keep("1.4", Plan("keep"), StudyInstanceUID="1.4", SeriesDescription="Knee LEFT", content=b"x")
    spool.keep("1.5", DENOISE, StudyInstanceUID="1.5", SeriesInstanceUID="1.5.1", StudyDate="20260304")
    return spool.ledger


def test_overview_says_what_there_is(filled):
    seen = _look(filled)
    assert seen.today.studies == 5
    assert seen.today.received.objects == 6
    assert seen.instances(Origin.RECEIVED, InstanceStatus.KEPT, InstanceStatus.PASSED_OVER).objects == 5
    assert seen.instances(Origin.DERIVED, InstanceStatus.KEPT).size_bytes > 0
    assert seen.jobs(JobStatus.COLLECTING, JobStatus.READY) == 1
    assert seen.deliveries(DeliveryStatus.DEAD) == 1
    assert {(one.kind, one.PatientID, one.objects) for one in seen.troubles} == {
        ("delivery", "P1", 1),
        ("quarantine", "P1", 1),
    }
    by_name = {one.name: one for one in seen.destinations}
    assert by_name["PACS"].worked_at == 200.0
    assert (by_name["PACS"].delivered, by_name["PACS"].dead) == (1, 1)
    assert by_name["NEVER"].breaker is Breaker.CLOSED
    assert len(seen.minutes) == 60


def test_overview_knows_the_oldest_of_all_ranks(spool):
    for rank, at in (("STAT", 300.0), ("LOW", 100.0), ("HIGH", 200.0)):
        plan = Plan("denoise", rule=rank, model="m", priority=rank)
        spool.keep(f"1.{at}", plan, SeriesInstanceUID=f"1.{at}", received_at=at)
    spool.ledger.promote_ready(1e6, quiet_s=0, idle_s=0)
    assert _look(spool.ledger).waiting_since == 100.0


def test_the_last_hour_is_by_the_minute(spool):
    spool.keep("1.1", FORWARD, received_at=5990.0)
    spool.deliver(now=6001.0)
    last = _look(spool.ledger, now=6001.0).minutes
    assert [minute.at for minute in last[-2:]] == [5940, 6000]
    assert [minute.received.objects for minute in last[-2:]] == [1, 0]
    assert [minute.delivered.objects for minute in last[-2:]] == [0, 1]


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (State.DELIVERED, ["1.1"]),
        (State.DENOISED, ["1.2"]),
        (State.FAILED, ["1.2"]),
        (State.PASSED_OVER, ["1.3"]),
        (State.QUARANTINED, ["1.4"]),
        (State.WAITING, ["1.5"]),
        (None, ["1.5", "1.4", "1.3", "1.2", "1.1"]),
    ],
)
def test_studies_are_found_by_how_far_they_got(filled, state, found):
    assert _found(filled, state=state) == found


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ({"words": "anna"}, ["1.1"]),
        ({"words": "acc7"}, ["1.2"]),
        ({"words": "1.4"}, ["1.4"]),
        ({"words": "ANNA1 "}, ["1.1"]),
        ({"words": "%"}, []),
        ({"words": "' OR 1"}, []),
        ({"modality": "sr"}, ["1.3"]),
        ({"description": "knee"}, ["1.4"]),
        ({"date_from": "20260201"}, ["1.5"]),
        ({"date_to": "20260201", "modality": "SR"}, ["1.3"]),
        ({"words": "1.", "state": State.FAILED}, ["1.2"]),
        ({"after": "nonsense"}, ["1.5", "1.4", "1.3", "1.2", "1.1"]),
    ],
)
def test_studies_are_found_by_what_is_known(filled, known, found):
    assert _found(filled, **known) == found


@pytest.mark.parametrize("known", [{}, {"date_from": "20000101"}, {"words": "1."}])
def test_pages_follow_each_other_without_gap_or_repeat(spool, known):
    count = 2 * PAGE + 3
    for number in range(count):
        uid = f"1.{number:03}"
        spool.keep(uid, Plan("keep"), StudyInstanceUID=uid, StudyDate=f"202601{number % 9 + 1:02}")
    pages, after = [], ""
    while True:
        answer = spool.ledger.views.search(Question(after=after, **known))
        pages.append([found.study.StudyInstanceUID for found in answer.studies])
        after = answer.after
        if not after:
            break
    assert [len(page) for page in pages] == [PAGE, PAGE, 3]
    assert len({uid for page in pages for uid in page}) == count


def test_a_search_that_finds_nothing_for_long_stops_and_goes_on(spool, monkeypatch):
    monkeypatch.setattr("dae_pacs.spool.search._LOOKED_AT", 2)
    for number in range(5):
        uid = f"1.{number}"
        spool.keep(uid, Plan("keep"), StudyInstanceUID=uid, Modality="CT" if number else "MR")
    first = spool.ledger.views.search(Question(modality="MR"))
    assert (first.studies, first.is_partial) == ((), True)
    second = spool.ledger.views.search(Question(modality="MR", after=first.after))
    third = spool.ledger.views.search(Question(modality="MR", after=second.after))
    assert [found.study.StudyInstanceUID for found in third.studies] == ["1.0"]


def test_a_story_has_every_chapter(filled):
    ids = {found.study.StudyInstanceUID: found.id for found in filled.views.search(Question()).studies}
    story = filled.views.story(ids["1.2"])
    received, derived = story.objects
    assert (received.calling_ae, received.count, received.rule) == ("CT1", 1, "ct")
    assert (derived.origin, derived.calling_ae) == (Origin.DERIVED, "")
    assert [job.model for job in story.jobs] == ["m"]
    assert [(image.status, image.count) for image in story.images] == [("derived", 1)]
    assert [(sent.destination, sent.status, sent.error) for sent in story.sent] == [
        ("PACS", "dead", "refused: no such patient")
    ]
    assert len(filled.views.story(ids["1.4"]).quarantined) == 1
    assert filled.views.story(999) is None
    assert filled.views.study_id_of("1.4") == ids["1.4"]
    assert filled.views.study_id_of("9.9") is None


def test_a_study_whose_files_retention_deleted_is_gone(filled):
    study_id = filled.views.study_id_of("1.1")
    assert not filled.views.story(study_id).is_gone
    for instance in filled.removable(1e9):
        filled.remove(instance.id)
    assert filled.views.story(study_id).is_gone


def test_no_question_of_a_page_reads_a_table_from_end_to_end(filled):
    statements = []
    database = filled._database
    for connection in (database._reader, database._asker):
        connection.set_trace_callback(statements.append)
    _look(filled)
    filled.views.latest(limit=8)
    for state in (None, *State):
        filled.views.search(Question(state=state))
        filled.views.search(Question(state=state, words="1", modality="CT", description="k"))
        filled.views.search(Question(state=state, date_from="20260101", after="20260101/5"))
    filled.views.story(2)
    filled.views.study_id_of("1.2")
    filled.views.instance(1)
    scans = []
    with database.reading() as connection:
        connection.set_trace_callback(None)
        for statement in {one for one in statements if one.lstrip().startswith("SELECT")}:
            plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            is_latest = statement.endswith("ORDER BY id DESC LIMIT 8")
            scans += [(step, statement) for step in plan if _is_whole(step) and not is_latest]
            is_bounded = "json_each" in statement or "FROM studies" not in statement
            scans += [(step, statement) for step in plan if "ORDER BY" in step and not is_bounded]
    assert len(statements) > 50
    assert scans == []


def _is_whole(step):
    """Tell whether a step reads a large table whole; totals and activity have a few rows."""
    large = {"instances", "series", "studies", "jobs", "job_images", "deliveries", *"ijds", "ji"}
    return step.startswith("SCAN") and step.split()[1] in large and "USING" not in step
