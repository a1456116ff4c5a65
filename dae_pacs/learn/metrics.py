"""Measures of a denoised image against its reference."""

import torch
from monai.metrics.regression import RegressionMetric
from torch import Tensor


class RangePsnr(RegressionMetric):
    """Peak signal-to-noise ratio in dB, the peak being each reference's own range.

    MONAI's PSNRMetric takes one fixed range; stabilised images have none in common.
    """

    def _compute_metric(self, y_pred: Tensor, y: Tensor) -> Tensor:
        """Compare (batch, channels, rows, columns); returns (batch, 1)."""
        reference = y.flatten(start_dim=1).double()
        span = reference.amax(dim=1) - reference.amin(dim=1)
        squared = (y_pred.flatten(start_dim=1).double() - reference).square().mean(dim=1)
        floor = torch.finfo(torch.float32).tiny  # an exact copy must give a number, not infinity
        return 10.0 * torch.log10(span.square().clamp_min(floor) / squared.clamp_min(floor)).unsqueeze(1)
