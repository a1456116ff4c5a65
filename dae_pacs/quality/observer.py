"""A channelised Hotelling observer: is a faint disc easier or harder to detect than before?

Ten dense difference-of-Gaussians channels (Abbey & Barrett, J. Opt. Soc. Am. A 2001), which predict people's
detection in noise. The observer knows shape and place of the signal and the statistics of the background; its
template is learned on other places than those it is tested on (Gallas & Barrett, J. Opt. Soc. Am. A 2003).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dae_pacs.noise.model import NoiseModel
from dae_pacs.quality.evidence import PLACE_PX
from dae_pacs.quality.inserted import DIAMETERS_PX, Denoise, disc, insert, signal_to_noise
from dae_pacs.quality.verdict import Check, Row, Verdict, number, worst

CHANNELS = 10
FIRST_SIGMA = 0.005
"""Cycles per pixel; with the two below, Abbey & Barrett's dense channels."""
GROWTH = 1.4
BANDWIDTH = 1.67
LEAST_PLACES = 60
"""Six for each channel: fewer, and the covariance of ten channels is not known."""
FOLDS = 10
TARGET_SNR = 2.0
"""Of a matched filter in the noise alone: neither hopeless nor certain, where a change shows best."""
RESAMPLES = 500
MARGIN = 0.05
"""Of the area under the curve, as non-inferiority studies of readers often take it."""
SEED = 20170


@dataclass(frozen=True)
class Ratings:
    """The observer's ratings of each place, without and with the signal."""

    absent: NDArray[np.float64]
    present: NDArray[np.float64]


def channels(side: int = PLACE_PX) -> NDArray[np.float64]:
    """Make the channels' profiles in space, (side², CHANNELS), centred and real."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None, :])
    # The signal's centre lies between the four middle pixels: half a pixel from the grid.
    phase = np.fft.fftfreq(side) * (side - 1) / 2
    shift = np.exp(-2j * np.pi * (phase[:, None] + phase[None, :]))
    profiles = []
    for k in range(CHANNELS):
        sigma = FIRST_SIGMA * GROWTH**k
        band = np.exp(-0.5 * (frequency / (BANDWIDTH * sigma)) ** 2) - np.exp(-0.5 * (frequency / sigma) ** 2)
        profiles.append(np.real(np.fft.ifft2(band * shift)).ravel())
    return np.stack(profiles, axis=1)


def detectability(
    absent: NDArray[np.floating], present: NDArray[np.floating], bank: NDArray[np.float64]
) -> float:
    """Give the Hotelling observer's d' on channel outputs, learned and tested on the same places.

    d'² = Δvᵀ S⁻¹ Δv, Δv the difference of the mean channel outputs, S their mean covariance. Its excess over
    the truth vanishes as the places grow in number.

    Args:
        absent: (places, side, side) without the signal.
        present: the same with it.
        bank: what `channels` gives.
    """
    first, second = (part.reshape(len(part), -1) @ bank for part in (absent, present))
    difference, template = _template(first, second)
    return float(np.sqrt(difference @ template))


def rate(absent: NDArray[np.floating], present: NDArray[np.floating], bank: NDArray[np.float64]) -> Ratings:
    """Rate each place by a template learned on the others, fold by fold."""
    first, second = (part.reshape(len(part), -1) @ bank for part in (absent, present))
    folds = np.random.default_rng(SEED).permutation(len(first)) % FOLDS
    rated = np.zeros((2, len(first)))
    for fold in range(FOLDS):
        held, seen = folds == fold, folds != fold
        difference, template = _template(first[seen], second[seen])
        # Each fold's ratings are put on one scale before they are compared across folds.
        scale = max(float(np.sqrt(difference @ template)), float(np.finfo(np.float64).tiny))
        middle = (first[seen].mean(axis=0) + second[seen].mean(axis=0)) / 2
        rated[0, held] = (first[held] - middle) @ template / scale
        rated[1, held] = (second[held] - middle) @ template / scale
    return Ratings(rated[0], rated[1])


def area(ratings: Ratings, counts: NDArray[np.floating] | None = None) -> float:
    """Give the area under the ROC curve (Wilcoxon's statistic), a place never compared with itself.

    Args:
        ratings: of the places.
        counts: how often each place counts; once where None.
    """
    weight = np.ones(len(ratings.absent)) if counts is None else np.asarray(counts, dtype=np.float64)
    return _weighted_area(_wins(ratings), weight)


def spread_d(ratings: Ratings) -> float:
    """Give d' of ratings: their means' distance over their mean standard deviation."""
    variance = (ratings.absent.var(ddof=1) + ratings.present.var(ddof=1)) / 2
    return float((ratings.present.mean() - ratings.absent.mean()) / np.sqrt(variance)) if variance else 0.0


def check_detectability(places: NDArray[np.float32], denoise: Denoise, *, noise: NoiseModel) -> Check:
    """Compare the observer's area under the curve before and after, for discs of three sizes.

    Args:
        places: (places, PLACE_PX, PLACE_PX), in the modality's unit.
        denoise: the denoiser at the strength used.
        noise: of the group.
    """
    question = "Are faint objects as easy to detect as before?"
    limits = (
        "The observer knows where to look and what for, at flat places; a person searches, in anatomy. It "
        "can't tell whether the image looks familiar. Denoising adds no information: a gain means that "
        "what is there is easier to use."
    )
    if len(places) < LEAST_PLACES:
        finding = f"Only {len(places)} flat places; {LEAST_PLACES} are needed: give more images."
        return Check("detectability", question, Verdict.UNKNOWN, finding, "", limits)
    bank = channels()
    without = denoise(places)
    rows, verdicts = [], []
    for diameter in DIAMETERS_PX:
        profile = disc(diameter)
        contrast = TARGET_SNR / signal_to_noise(profile, noise.spectrum)
        present = insert(places, profile, contrast, noise)
        row, verdict = _compare(rate(places, present, bank), rate(without, denoise(present), bank))
        rows.append({"diameter in px": diameter, "contrast in sigma": contrast, **row})
        verdicts.append(verdict)
    least = min(rows, key=lambda row: number(row, "change"))
    return Check(
        key="detectability",
        question=question,
        verdict=worst(verdicts),
        finding=f"Area under the ROC curve, least favourable size ({least['diameter in px']} px): "
        f"{least['AUC before']:.3f} before, {least['AUC after']:.3f} after; change {least['change']:+.3f} "
        f"(95 % from {least['from']:+.3f} to {least['to']:+.3f}).",
        rule=f"Good where the 95 % interval of the change lies above -{MARGIN:g}, a margin often taken in "
        "reader studies; bad where it lies wholly below 0 and the change is worse than half that margin; "
        "look between: too few places to be sure.",
        limits=limits,
        numbers={"change_least": number(least, "change"), "places": len(places)},
        rows=rows,
    )


def _compare(before: Ratings, after: Ratings) -> tuple[Row, Verdict]:
    wins = (_wins(before), _wins(after))
    count = len(before.absent)
    areas = [_weighted_area(won, np.ones(count)) for won in wins]
    rng = np.random.default_rng(SEED)
    # Whole places are drawn, so that before and after, with and without, stay paired (Efron's bootstrap).
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    changes = [_weighted_area(wins[1], weight) - _weighted_area(wins[0], weight) for weight in drawn]
    low, high = (float(value) for value in np.quantile(changes, [0.025, 0.975]))
    change = areas[1] - areas[0]
    if low > -MARGIN:
        verdict = Verdict.GOOD
    else:
        verdict = Verdict.BAD if high < 0 and change < -MARGIN / 2 else Verdict.LOOK
    row: Row = {
        "AUC before": areas[0],
        "AUC after": areas[1],
        "change": change,
        "from": low,
        "to": high,
        "d' before": spread_d(before),
        "d' after": spread_d(after),
    }
    return row, verdict


def _template(
    absent: NDArray[np.float64], present: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the difference of the means and the template S⁻¹ Δv."""
    difference = present.mean(axis=0) - absent.mean(axis=0)
    covariance = (np.cov(absent, rowvar=False) + np.cov(present, rowvar=False)) / 2
    # A denoiser may leave a channel empty; so little of the mean variance changes nothing else.
    floor = 1e-9 * np.trace(covariance) / len(covariance)
    template = np.linalg.solve(covariance + floor * np.eye(len(covariance)), difference)
    return difference, template


def _wins(ratings: Ratings) -> NDArray[np.float64]:
    """Say of each pair of places whether the one with the signal is rated higher; 0 for one with itself."""
    higher = ratings.present[:, None] > ratings.absent[None, :]
    equal = ratings.present[:, None] == ratings.absent[None, :]
    wins = higher + 0.5 * equal
    np.fill_diagonal(wins, 0)
    return np.asarray(wins, dtype=np.float64)


def _weighted_area(wins: NDArray[np.float64], weight: NDArray[np.float64]) -> float:
    pairs = weight.sum() ** 2 - np.square(weight).sum()
    return float(weight @ wins @ weight / pairs)
