"""How long to wait after a failure: doubling, bounded, and spread so that retries don't march in step."""

import secrets
from typing import Final

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 300.0


def backoff_s(failures: int) -> float:
    """Say the wait after so many failures in a row, in [1, 300] s.

    The upper half of the doubled time is random ("equal jitter"): peers that failed together come back apart.
    """
    ceiling = min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(max(failures, 1), 20))
    share = secrets.randbelow(1001) / 1000
    return max(FIRST_BACKOFF_S, ceiling * (0.5 + 0.5 * share))


def is_far(moment: float, now: float) -> bool:
    """Tell whether a time lies further ahead than any back-off puts it: the clock was set back since."""
    return moment > now + LONGEST_BACKOFF_S
