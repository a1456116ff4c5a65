import pytest

from dae_pacs.node.delivery import backoff_s


@pytest.mark.parametrize(("tries", "seconds"), [(0, 1), (1, 2), (3, 8), (8, 256), (9, 300), (99, 300)])
def test_backoff_doubles_up_to_five_minutes(tries, seconds):
    assert backoff_s(tries) == seconds
