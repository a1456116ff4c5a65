"""Recorruption: two images of independent noise from one noisy image, to learn from without a clean one."""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import MapTransform, RandomizableTransform
from numpy.typing import NDArray

from dae_pacs.errors import TrainingError
from dae_pacs.learn.stabilised import noise_of
from dae_pacs.noise.spectrum import SIDE_PX, Spectrum, unit_noise


class Recorrupted(RandomizableTransform, MapTransform):
    """Turn a stabilised patch z = x + n into a pair: `<key>` to see and `label` to aim at.

    With w drawn like n (the spectrum of the item's `noise`, standard deviation 1):

        y1 = √(1−α)·z + √α·w,   y2 = √(1−α)·z − (1−α)/√α·w

    That is z + √(α/(1−α))·w and z − √((1−α)/α)·w (Pang et al., CVPR 2021; α as in Monroy et al., CVPR 2025),
    both times √(1−α), so that the network is trained at the noise it meets later: var(noise of y1) = 1,
    var(noise of y2) = (1−α)/α, and their covariance is 0. So the minimiser of ‖f(y1) − y2‖² is that of
    ‖f(y1) − √(1−α)·x‖².

    Each patch may draw its own α. A low one keeps the proportion of signal and noise that the network will
    meet, but its target is noisy, and the image's own noise shows through in the input: where it is not
    Gaussian as w is, the network can tell the two apart. A high one hides it, and gives a cleaner target, of
    a patch made noisier than it was.

    An item with `seed` is not random: the same α and w each time, for validation.

    Args:
        keys: of stabilised patches, (1, rows, columns) float32.
        alpha: above 0 and below 1; the more, the noisier the input was made and the less noisy the target.
            One number, or the lowest and the highest, to draw from evenly in log(α/(1−α)).
        antithetic: make both the pair of w and that of -w, whose errors cancel in part: `<key>` and `label`
            become (2, rows, columns), for `batches.unfold_channels`.
    """

    def __init__(self, keys: Any, *, alpha: float | Sequence[float] = 0.15, antithetic: bool = True) -> None:
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob=1.0)
        ends = [float(alpha)] * 2 if isinstance(alpha, int | float) else [float(end) for end in alpha]
        if not (len(ends) == 2 and 0 < ends[0] <= ends[1] < 1):
            raise TrainingError(
                f"alpha is {alpha}; expected a number above 0 and below 1, such as 0.15, or the lowest and "
                "the highest of two, such as [0.15, 0.85]."
            )
        self.log_odds = (_log_odds(ends[0]), _log_odds(ends[1]))
        self.signs = (1.0, -1.0) if antithetic else (1.0,)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each patch and add `label`."""
        made = dict(data)
        spectrum = noise_of(str(made["noise"])).spectrum
        for key in self.key_iterator(made):
            rng = np.random.default_rng(int(made["seed"]) if "seed" in made else self.R.randint(1 << 31))
            alpha = 1 / (1 + math.exp(-rng.uniform(*self.log_odds)))
            z = np.asarray(made[key], dtype=np.float32)
            w = local_noise((z.shape[1], z.shape[2]), spectrum, rng)
            signed = np.stack([np.float32(sign) * w for sign in self.signs])
            scaled = np.float32(np.sqrt(1 - alpha)) * z
            seen = scaled + np.float32(np.sqrt(alpha)) * signed
            target = scaled - np.float32((1 - alpha) / np.sqrt(alpha)) * signed
            made[key] = torch.from_numpy(seen)
            made["label"] = torch.from_numpy(target)
        return made


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))


def local_noise(shape: tuple[int, int], spectrum: Spectrum, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw noise of standard deviation 1 whose opposite borders have nothing in common.

    `unit_noise` wraps around. The noise of a patch that was cut out of an image does not, and where the two
    differ the pair's noises would be correlated: so more is drawn, and its border cut off.

    Args:
        shape: (rows, columns).
        spectrum: as in the noise model.
        rng: numpy generator.

    Returns:
        (rows, columns) float32.
    """
    margin = SIDE_PX if len(spectrum) > 1 else 0
    rows, columns = shape
    return unit_noise((rows + margin, columns + margin), spectrum, rng)[:rows, :columns]
