"""Who is next: sources take turns, whatever each of them has waiting."""

from dae_pacs.spool.records import Plan

SOON = {"quiet_s": 0.0, "idle_s": 0.0}


def _ready(
    spool, *series: tuple[str, str], priority: str = "MEDIUM", at: float = 100.0, size: int = 0
) -> None:
    """Have a series of one image from each source, one after the other."""
    for number, (source, name) in enumerate(series):
        plan = Plan(action="denoise", rule="all", destinations=("PACS",), priority=priority)
        spool.keep(
            f"1.{name}",
            plan,
            content=bytes(size),
            StudyInstanceUID=f"2.{name}",
            SeriesInstanceUID=f"3.{name}",
            calling_ae=source,
            association=f"{source} {name}",
            received_at=at + number,
        )
    spool.ledger.promote_ready(at + 1000, **SOON)


def _order(spool, count: int, *, now: float = 2000.0) -> list[str]:
    taken = [spool.ledger.claim_job("w", lease_s=60, now=now) for _ in range(count)]
    return [job.StudyInstanceUID.removeprefix("2.") for job in taken if job]


def test_one_series_of_a_scanner_does_not_wait_for_all_of_an_archive(spool):
    _ready(spool, *(("ARCHIVE", f"1{k}") for k in range(6)), ("CT1", "20"), ("CT1", "21"))

    assert _order(spool, 8) == ["10", "20", "11", "21", "12", "13", "14", "15"]


def test_a_source_with_large_series_has_fewer_turns(spool):
    _ready(spool, *(("LARGE", f"1{k}") for k in range(3)), size=30_000)
    _ready(spool, *(("SMALL", f"2{k}") for k in range(9)), at=150.0, size=10_000)

    order = _order(spool, 8)

    assert sorted(order[:4]) == ["10", "20", "21", "22"], "one large series, and three of a third of its size"
    assert sorted(order[4:]) == ["11", "23", "24", "25"]


def test_rest_earns_nothing(spool):
    _ready(spool, *(("A", f"1{k}") for k in range(4)))
    assert _order(spool, 4) == ["10", "11", "12", "13"]

    _ready(spool, *(("A", f"1{k}") for k in range(4, 8)), at=200.0)
    _ready(spool, *(("B", f"2{k}") for k in range(4)), at=250.0)

    assert _order(spool, 6) == ["20", "14", "21", "15", "22", "16"]


def test_urgent_series_go_first_whoever_had_the_last_turns(spool):
    _ready(spool, ("A", "10"), ("A", "11"), ("B", "20"))
    _ready(spool, ("A", "12"), ("A", "13"), priority="STAT", at=150.0)

    assert _order(spool, 5)[:2] == ["12", "13"]


def test_a_series_that_pauses_after_a_failure_loses_no_turn_of_its_source(spool):
    _ready(spool, ("A", "10"), ("B", "20"), ("A", "11"))
    job = spool.ledger.claim_job("w", lease_s=60, now=2000.0)
    spool.ledger.fail_job(job.id, "w", reason="out of luck", max_attempts=3, now=2000.0)

    assert _order(spool, 3, now=2000.1) == ["20", "11"]


def test_clocks_of_sources_that_have_nothing_waiting_are_forgotten(spool):
    for k in range(50):
        _ready(spool, (f"STRANGER{k}", f"{k}"), at=100.0 + k)
        _order(spool, 1)

    with spool.ledger._database.reading() as connection:
        (count,) = connection.execute("SELECT count(*) FROM turns").fetchone()
    assert count <= 2


def test_outputs_of_one_series_are_made_one_after_the_other(spool):
    plan = Plan(action="denoise", rule="all", destinations=("PACS",), strengths=(1.0,))
    spool.keep("1.1", plan, StudyInstanceUID="2.1", SeriesInstanceUID="3.1", received_at=100.0)
    other = Plan(action="denoise", rule="all", destinations=("PACS",))
    spool.keep("1.2", other, StudyInstanceUID="2.2", SeriesInstanceUID="3.2", received_at=101.0)
    spool.ledger.promote_ready(2000.0, **SOON)

    first, second = (spool.ledger.claim_job(f"w{k}", lease_s=60, now=2000.0) for k in range(2))
    assert (first.StudyInstanceUID, second.StudyInstanceUID) == ("2.1", "2.2")
    assert spool.ledger.claim_job("w2", lease_s=60, now=2000.0) is None
    spool.ledger.release_job(first.id, "w0")
    assert spool.ledger.claim_job("w2", lease_s=60, now=2000.0).StudyInstanceUID == "2.1"
