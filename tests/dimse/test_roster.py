from dae_pacs.dimse import pdus
from dae_pacs.dimse.roster import Roster


def test_places_are_counted_in_all_and_by_address_and_given_back():
    roster = Roster(limit=3, limit_per_address=2)
    assert [roster.enter("a"), roster.enter("a")] == [None, None]
    assert roster.enter("a") is pdus.ADDRESS_LIMIT_EXCEEDED
    assert roster.enter("b") is None
    assert roster.enter("c") is pdus.LIMIT_EXCEEDED
    roster.leave("a")
    assert roster.enter("c") is None
    assert roster.enter("a") is pdus.LIMIT_EXCEEDED


def test_rejection_is_written_as_ps3_8_says():
    assert pdus.LIMIT_EXCEEDED.encode() == bytes((3, 0, 0, 0, 0, 4, 0, 2, 3, 2))
    assert pdus.abort(2, 6) == bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, 6))
