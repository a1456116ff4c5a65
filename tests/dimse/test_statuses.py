import pytest

from dae_pacs.dimse.statuses import Outcome, classify, describe


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (0x0000, Outcome.SENT),
        (0xB000, Outcome.WARNING),
        (0xB006, Outcome.WARNING),
        (0xB007, Outcome.WARNING),
        (0xB123, Outcome.WARNING),
        (0x0001, Outcome.WARNING),
        (0x0107, Outcome.WARNING),
        (0x0111, Outcome.WARNING),
        (0x0116, Outcome.WARNING),
        (0xA700, Outcome.RETRY),
        (0xA7FF, Outcome.RETRY),
        (0x0110, Outcome.RETRY),
        (0x0124, Outcome.RETRY),
        (0x0213, Outcome.RETRY),
        (0xA900, Outcome.DEAD),
        (0xA9FF, Outcome.DEAD),
        (0xC000, Outcome.DEAD),
        (0xCFFF, Outcome.DEAD),
        (0x0117, Outcome.DEAD),
        (0x0122, Outcome.DEAD),
        (0x0212, Outcome.DEAD),
        (0xFF00, Outcome.DEAD),
        (0xFE00, Outcome.DEAD),
    ],
)
def test_status_decides_what_becomes_of_a_delivery(status: int, outcome: Outcome) -> None:
    assert classify(status) is outcome


def test_every_possible_status_has_words_and_an_outcome() -> None:
    for status in range(0x10000):
        assert describe(status).startswith(f"{status:04X}H (")
        assert classify(status) in Outcome


def test_families_are_named_for_codes_inside_them() -> None:
    assert describe(0xA701) == "A701H (out of resources)"
    assert describe(0xC123) == "C123H (cannot understand)"
    assert describe(0xA901) == "A901H (data set does not match SOP class)"
