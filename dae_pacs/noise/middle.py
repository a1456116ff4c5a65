"""Medians as `np.median` gives them, bit for bit, without what it costs beside them."""

import numpy as np
from numpy.typing import NDArray

EXCHANGES = (
    ((0, 1), (2, 3), (4, 5), (6, 7)),
    ((0, 2), (1, 3), (4, 6), (5, 7)),
    ((1, 2), (5, 6), (0, 4), (3, 7)),
    ((1, 5), (2, 6)),
    ((1, 4), (3, 6)),
    ((2, 4), (3, 5)),
    ((3, 4),),
)
"""That sort eight values: Batcher's odd-even merge (Knuth, The Art of Computer Programming 3, 5.3.4)."""


def medians(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give the medians along the last axis.

    It does no more than that: what `np.median` spends on NaNs and arguments costs more than short medians.

    Args:
        values: (..., values) of any floating type, at least one along the last axis, none of them NaN.

    Returns:
        One dimension less, in the type of the values.
    """
    upper = values.shape[-1] // 2
    parted = np.partition(values, (max(upper - 1, 0), upper), axis=-1)
    if values.shape[-1] % 2:
        return np.asarray(parted[..., upper])
    return np.asarray((parted[..., upper - 1] + parted[..., upper]) / 2)


def medians_of_eight(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Give the medians of rows of eight, all rows at once: `medians` would sort out each by itself.

    Args:
        values: (rows, 8) of any floating type, none of them NaN.

    Returns:
        (rows,) in the type of the values.
    """
    lanes = list(np.ascontiguousarray(values.T))
    for low, high in (pair for pairs in EXCHANGES for pair in pairs):
        lanes[low], lanes[high] = np.minimum(lanes[low], lanes[high]), np.maximum(lanes[low], lanes[high])
    return np.asarray((lanes[3] + lanes[4]) / 2)
