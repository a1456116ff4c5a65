"""Losses, all of them of squared error; nothing adversarial, perceptual or generative (DESIGN.md).

The default of every recipe is the mean squared error, `torch.nn.MSELoss`. Against a noisy target it has the
same minimiser as against a clean one, since the target's noise is of mean 0 and independent of the input's;
SSIM has not, so the two losses with structure are for clean targets.
"""

from monai.losses.ssim_loss import SSIMLoss
from torch import Tensor, nn

SMALLEST_SPAN = 1e-3
"""In units of sigma: below it an image is flat, and has no structure to compare."""


class StructureError(nn.Module):
    """1 - SSIM (Wang et al., IEEE TIP 2004) on the scale of the batch's own range.

    SSIM's constants assume 0..1, and stabilised images have no range in common.

    Args:
        window_px: side of SSIM's window.
    """

    def __init__(self, window_px: int = 11) -> None:
        super().__init__()
        self.ssim = SSIMLoss(spatial_dims=2, win_size=window_px)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, 1, rows, columns) stabilised images."""
        lowest = target.amin()
        span = (target.amax() - lowest).clamp_min(SMALLEST_SPAN)
        structural: Tensor = self.ssim((prediction - lowest) / span, (target - lowest) / span)
        return structural


class SquaredErrorWithStructure(nn.Module):
    """Mean squared error plus a share of 1 - SSIM.

    Args:
        ssim_share: weight of the structural part; 0 is plain mean squared error.
        window_px: side of SSIM's window.
    """

    def __init__(self, ssim_share: float = 0.1, window_px: int = 11) -> None:
        super().__init__()
        self.ssim_share = ssim_share
        self.structure = StructureError(window_px)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare (batch, 1, rows, columns) stabilised images."""
        squared = nn.functional.mse_loss(prediction, target)
        if self.ssim_share == 0.0:
            return squared
        structural: Tensor = self.structure(prediction, target)
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


class MaskedSquaredError(nn.Module):
    """Squared error where it counts: Σ m·(f − t)² / Σ m, over the whole batch; 0 where nothing counts.

    For targets of which only some pixels can be learned from: blind spots (`learn.blind_spot`), and
    neighbouring slices where they show the same (`learn.slices`).
    """

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target.

        Args:
            prediction: (batch, 1, rows, columns), in units of sigma.
            target: (batch, 2, rows, columns): the target t, and the weight m of each pixel, 0 to 1.
        """
        wanted, weight = target[:, :1], target[:, 1:]
        squared = weight * (prediction - wanted).square()
        return squared.sum() / weight.sum().clamp_min(1.0)


class NeighbourError(nn.Module):
    """Neighbor2Neighbor's loss (Huang et al., CVPR 2021): ‖d‖² + γ·‖d − (g1(f(y)) − g2(f(y)))‖².

    d = f(g1(y)) − g2(y). The second term takes into account that neighbours' clean values differ. It is a
    guide for the gradient and no measure: it forgives a copy of the input, so that the sum rises while the
    network learns. A target of one channel, as a validation should have, leaves it out.

    Args:
        gamma: weight of the second term; 0 leaves it out.
    """

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compare a prediction with its target.

        Args:
            prediction: f(g1(y)), (batch, 1, rows, columns).
            target: (batch, 2, rows, columns): g2(y), and g1(f(y)) − g2(f(y)) without gradient, as
                `subsample.RegularisedBatch` gives them; or g2(y) alone.
        """
        distance = prediction - target[:, :1]
        if target.shape[1] == 1:
            return distance.square().mean()
        return distance.square().mean() + self.gamma * (distance - target[:, 1:]).square().mean()
