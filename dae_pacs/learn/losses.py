"""Losses, all of them of squared error; nothing adversarial, perceptual or generative (DESIGN.md)."""

from monai.losses.ssim_loss import SSIMLoss
from torch import Tensor, nn

SMALLEST_SPAN = 1e-3
"""In units of sigma: below it an image is flat, and has no structure to compare."""


class SquaredErrorWithStructure(nn.Module):
    """Mean squared error plus a share of 1 - SSIM (Wang et al., IEEE TIP 2004).

    Args:
        ssim_share: weight of the structural part; 0 is plain mean squared error.
        window_px: side of SSIM's window.
    """

    def __init__(self, ssim_share: float = 0.1, window_px: int = 11) -> None:
        super().__init__()
        self.ssim_share = ssim_share
        self.ssim = SSIMLoss(spatial_dims=2, win_size=window_px)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, 1, rows, columns) stabilised images."""
        squared = nn.functional.mse_loss(prediction, target)
        if self.ssim_share == 0.0:
            return squared
        # Scaled by the batch's own range: SSIM's constants assume 0..1, and stabilised images have none.
        lowest = target.amin()
        span = (target.amax() - lowest).clamp_min(SMALLEST_SPAN)
        structural: Tensor = self.ssim((prediction - lowest) / span, (target - lowest) / span)
        return squared + self.ssim_share * structural


class LogSquaredError(nn.Module):
    """The mean over patches of log(mean squared error + floor).

    Each patch then counts by what share of its error is taken away. Under the plain mean, patches of low
    noise and high contrast, whose edges stand hundreds of sigma high, drown the ones with noise to remove.

    Args:
        floor: squared error, in units of sigma squared, below which less is no gain worth having.
    """

    def __init__(self, floor: float = 0.02) -> None:
        super().__init__()
        self.floor = floor

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, 1, rows, columns) stabilised images."""
        squared = (prediction - target).square().flatten(start_dim=1).mean(dim=1)
        return (squared + self.floor).log().mean()
