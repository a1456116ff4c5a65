"""Tell what of a measured power is noise and what is structure that flat patches still hold.

Along the frequency k (in steps of the cosine transform), noise is taken for a sum of two parts, one smoothed
by a Gaussian as behind a scintillator, one white as from electronics: A·G(k; blur) + C. Structure is what
rises like a power law towards frequency 0 above it: S2·k⁻² + S4·k⁻⁴ (natural images follow k⁻², the rest of a
curved background k⁻⁴). All four are at least 0 and fitted by least squares, for every blur of a list. Where
noise and structure explain a rise equally well, it counts as structure: too little is cheaper than too much.

The family only says how noise and structure share what was measured. A spectrum that has neither form, as the
band-pass of a CT kernel, has no rise towards 0 and keeps its own.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.spectrum import SIDE_PX, gaussian_cosine_power, gaussian_power

BLURS_PX = (
    0,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
    0.55,
    0.6,
    0.65,
    0.7,
    0.75,
    0.8,
    0.85,
    0.9,
    0.95,
    1,
    1.1,
    1.2,
    1.35,
    1.5,
)
"""Beyond 1.5 px nothing tells noise from structure in a patch of 16."""
LAST_RING = 18
"""Rings above have few coefficients, and least power."""
RING_ERROR = 0.03
"""Relative distance of a ring from the family that means nothing, however many patches there are."""
COEFFICIENT_ERROR = 0.3
"""Relative standard error of one coefficient's power, from some 40 patches."""
FLOOR = 0.05
"""Of the median ring: below this, rings of little power are not weighted up any further."""
AGAINST_NOISE = 20.0
"""Price of taking all that was measured for noise, in the units of the misfit. Chosen on halved radiographs
and CT with known noise: 6 takes structure for weak noise, 30 takes weak noise for structure."""
TEMPERATURE = 0.5
"""How much worse a fit may be and still have a say: the average of good fits jumps less than the best."""

ALL_NOISE = 0.95
"""Share of noise from which it counts as all: the family is never met exactly, and what misses looks like
structure."""

_ROW, _COLUMN = np.indices((SIDE_PX, SIDE_PX))
RADIUS = np.hypot(_ROW, _COLUMN)
DETRENDED = (_ROW + _COLUMN) <= 1
"""Coefficients that a plane takes with it, and that are not measured therefore."""
_NUMBER = np.where(DETRENDED, 0, np.rint(RADIUS)).astype(np.intp)
_RINGS = slice(2, LAST_RING + 1)
_SIZES = np.bincount(_NUMBER.ravel())[_RINGS].astype(np.float64)
_SQUARE, _FOURTH = np.maximum(RADIUS, 1) ** -2, np.maximum(RADIUS, 1) ** -4
"""The forms of structure, k⁻² and k⁻⁴."""
_TERMS = tuple(tuple(i for i in range(4) if code >> i & 1) for code in range(1, 16))

Power = NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """What a measured power consists of; each (SIDE_PX, SIDE_PX)."""

    noise: Power
    """Of the family, as the cosine transform shows it."""
    share: Power
    """Of noise in what was measured, 0..1."""
    sharpened: Power
    """Factor from the cosine transform's power, which short patches smear, to the spectrum's."""


def split(power: Power) -> Split:
    """Fit noise and structure to a measured power.

    Args:
        power: (SIDE_PX, SIDE_PX), above 0; `DETRENDED` is not looked at.
    """
    measured = _rings(power)
    weight = 1 / np.hypot(RING_ERROR, COEFFICIENT_ERROR / np.sqrt(_SIZES))
    weight /= np.maximum(measured, FLOOR * np.median(measured))
    prices, numbers, terms = _fits(measured, weight)
    say = np.exp((prices.min() - prices) / (2 * TEMPERATURE))[:, None, None]
    blurred, white, square, fourth = terms.T[:, :, None, None]
    smeared, sharp = (part[numbers] for part in _blurs())
    noise = np.maximum(blurred * smeared + white, np.finfo(np.float32).tiny)
    total = say.sum()
    log_noise = (say * np.log(noise)).sum(axis=0)
    structure = (say * (square * _SQUARE + fourth * _FOURTH)).sum(axis=0)
    sharpened = (say * (blurred * sharp + white) / noise).sum(axis=0)
    noise = np.exp(log_noise / total)
    share = np.minimum(noise / (noise + structure / total) / ALL_NOISE, 1)
    return Split(noise=noise, share=share, sharpened=sharpened / total)


def _fits(measured: Power, weight: Power) -> tuple[Power, NDArray[np.intp], Power]:
    """Fit every set of terms with every blur; keep those without a negative one.

    Returns:
        Of each fit: its price (fits,), the number of its blur (fits,), and its four terms (fits, 4).
    """
    columns = _columns() * weight[:, None]
    wanted = measured * weight
    price_of_noise = np.array([AGAINST_NOISE, AGAINST_NOISE, 0, 0]) / measured.mean()
    products, aims = columns.swapaxes(1, 2) @ columns, wanted @ columns
    solved = np.full((len(BLURS_PX), len(_TERMS), 4), -1.0)  # what is not fitted counts as negative
    for place, terms in enumerate(_TERMS):
        # Noise without a blur is the white term's; sets without the blurred one are the same for every blur.
        blurs, at = slice(1, None) if 0 in terms else slice(0, 1), list(terms)
        aim = aims[blurs, at] - price_of_noise[at]
        solved[blurs, place] = 0
        solved[blurs, place, at] = np.linalg.solve(products[blurs][:, at][:, :, at], aim[:, :, None])[:, :, 0]
    numbers, places = np.nonzero(~(solved < 0).any(axis=2))
    found = solved[numbers, places]
    missed = (columns[numbers] @ found[:, :, None])[:, :, 0] - wanted
    return np.square(missed).sum(axis=1) + 2 * (found @ price_of_noise), numbers, found


@lru_cache(maxsize=1)
def _blurs() -> tuple[Power, Power]:
    """Give the power of each blur, smeared by short patches and sharp; each (blurs, SIDE_PX, SIDE_PX)."""
    return (
        np.stack([gaussian_cosine_power(blur_px) for blur_px in BLURS_PX]),
        np.stack([gaussian_power(blur_px) for blur_px in BLURS_PX]),
    )


@lru_cache(maxsize=1)
def _columns() -> Power:
    """Give the four terms of each blur by rings, (blurs, rings, 4)."""
    others = [_rings(part) for part in (np.ones_like(RADIUS), _SQUARE, _FOURTH)]
    return np.stack([np.stack([_rings(smeared), *others], axis=1) for smeared in _blurs()[0]])


def _rings(power: Power) -> Power:
    """Average over rings of equal frequency."""
    return np.bincount(_NUMBER.ravel(), weights=power.ravel())[_RINGS] / _SIZES
