"""What the ledger counts by itself is what a count of its rows gives, whatever happened to them."""

from dae_pacs.spool.outbox import Fate
from dae_pacs.spool.records import Plan

_COUNTED = """
    SELECT 'instance', origin, status, count(*), sum(size_bytes) FROM instances GROUP BY origin, status
    UNION ALL SELECT 'job', '', status, count(*), 0 FROM jobs GROUP BY status
    UNION ALL SELECT 'delivery', destination, status, count(*), 0 FROM deliveries
    GROUP BY destination, status"""
BOTH = Plan(
    "denoise", rule="ct", model="m", destinations=("PACS", "OTHER"), forward_original=True, removed=True
)


def _totals(ledger):
    with ledger._database.reading() as connection:
        said = {tuple(row) for row in connection.execute("SELECT * FROM totals WHERE objects <> 0")}
        counted = {tuple(row) for row in connection.execute(_COUNTED)}
        ends_at_zero = connection.execute("SELECT * FROM totals WHERE objects = 0 AND bytes <> 0").fetchall()
    return said, counted, ends_at_zero


def test_totals_are_what_a_count_gives(spool):
    for number in range(4):
        spool.keep(f"1.{number}", BOTH)
        spool.keep(f"1.{number}", BOTH)
    spool.keep("1.0", BOTH, content=b"other")
    spool.keep("2.0", Plan("keep"), SeriesInstanceUID="1.2.9")
    spool.denoise()
    spool.claim()
    spool.tell(spool.take(), Fate.TRY_AGAIN, "busy")
    spool.tell(spool.take(now=1e6), Fate.HOPELESS, "no")
    spool.deliver("OTHER")
    spool.ledger.outbox.drop("PACS", only_dead=True)
    for instance in spool.ledger.removable(1e9):
        spool.ledger.remove(instance.id)
    spool.keep("2.0", Plan("keep"), SeriesInstanceUID="1.2.9")
    said, counted, rest = _totals(spool.ledger)
    assert said == counted
    assert len({(kind, status) for kind, _, status, *_ in said}) >= 7
    assert rest == []
    (path,) = spool.files.quarantine.iterdir()
    path.unlink()
    next(spool.files.objects.glob("*/*.dcm")).unlink()
    spool.ledger.reconcile(spool.files)
    said, counted, rest = _totals(spool.ledger)
    assert said == counted
    assert rest == []


def test_activity_counts_by_the_minute_and_forgets_after_two_days(spool):
    day_s = 86400.0
    spool.keep("1.1", Plan("forward", destinations=("PACS",)), received_at=30.0)
    spool.keep("1.2", Plan("forward", destinations=("PACS",)), received_at=59.0)
    spool.deliver(now=61.0)
    query = "SELECT minute, kind, objects FROM activity WHERE kind <> 'study' ORDER BY minute, kind"
    with spool.ledger._database.reading() as connection:
        assert [tuple(row) for row in connection.execute(query)] == [(0, "received", 2), (1, "delivered", 2)]
    spool.keep("1.3", Plan("keep"), received_at=2 * day_s + 61.0)
    with spool.ledger._database.reading() as connection:
        assert [tuple(row) for row in connection.execute(query)] == [
            (1, "delivered", 2),
            (2881, "received", 1),
        ]
