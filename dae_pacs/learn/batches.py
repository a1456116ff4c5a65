"""Between the loader and the network: what a batch goes through on the device."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor

from dae_pacs.errors import TrainingError


def unfold_channels(
    batchdata: Mapping[str, Tensor],
    device: str | torch.device | None = None,
    non_blocking: bool = False,  # noqa: FBT001, FBT002  # the engines' signature of `prepare_batch`
    **kwargs: Any,
) -> tuple[Tensor, Tensor]:
    """Take each channel for an image of its own: `prepare_batch` of a trainer and of an evaluator.

    Args:
        batchdata: `image` and `label`, (batch, channels, rows, columns) each.
        device: to move both to.
        non_blocking: of `Tensor.to`.
        kwargs: more of `Tensor.to`.

    Returns:
        Image and label, (batch * channels, 1, rows, columns); the channels of one item stay side by side.
    """
    image, label = (
        batchdata[name].to(device=device, non_blocking=non_blocking, **kwargs).flatten(0, 1).unsqueeze(1)
        for name in ("image", "label")
    )
    return image, label


class NoiseBlindInferer(Inferer):
    """Train a network on noise that is stronger or weaker than the 1 that it was stabilised to.

    An estimate of the noise may be wrong, so the network must bear noise of another strength. It sees k·y,
    and what it makes of that is divided by k again, so that any loss counts each image the same, in units of
    its own noise: for squared error, ‖f(k·y) − k·t‖² / k². k is drawn for each image, evenly in log, from
    torch's own generator. It works the same for every recipe, and for the supervised twin of each. For
    training only: an evaluator's own inferer leaves k = 1.

    Args:
        factors: lowest and highest k; both 1 for noise of one strength.
        copies: so many images side by side in the batch share a factor: 2 for antithetic pairs, whose errors
            only cancel if they differ in nothing else.
        inferer: that runs the network; None for MONAI's SimpleInferer.
    """

    def __init__(
        self,
        factors: Sequence[float] = (0.5, 2.0),
        *,
        copies: int = 1,
        inferer: Callable[..., Tensor] | None = None,
    ) -> None:
        super().__init__()
        low, high = (float(factor) for factor in factors)
        if not (0 < low <= high and copies >= 1):
            raise TrainingError(
                f"factors are {low} to {high} for {copies} copies; expected two numbers above 0, the lower "
                "first, and at least one copy."
            )
        self.factors = (low, high)
        self.copies = copies
        self.inferer = inferer or SimpleInferer()

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Give the network's output for (batch, channels, rows, columns), in the scale of the input."""
        factors = self.draw(len(inputs), inputs.device).reshape(-1, 1, 1, 1)
        return self.inferer(inputs * factors, network, *args, **kwargs) / factors

    def draw(self, count: int, device: torch.device) -> Tensor:
        """Draw the factors of so many images, (count,) float32."""
        low, high = (math.log(factor) for factor in self.factors)
        drawn = torch.rand(-(-count // self.copies), device=device)
        return (low + (high - low) * drawn).exp().repeat_interleave(self.copies)[:count]
