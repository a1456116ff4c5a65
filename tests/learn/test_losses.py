"""Losses against their formulas."""

import pytest
import torch
from monai.losses.ssim_loss import SSIMLoss

from dae_pacs.learn.losses import SquaredErrorWithStructure


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = 50 * torch.rand((2, 1, 32, 32), generator=generator) - 20
    return target + torch.randn(target.shape, generator=generator), target


def test_without_structure_it_is_the_mean_squared_error() -> None:
    prediction, target = pair()
    assert torch.equal(
        SquaredErrorWithStructure(ssim_share=0.0)(prediction, target), ((prediction - target) ** 2).mean()
    )


def test_structure_is_compared_on_a_scale_of_one() -> None:
    prediction, target = pair()
    low, span = target.min(), target.max() - target.min()
    structure = SSIMLoss(spatial_dims=2)((prediction - low) / span, (target - low) / span)
    expected = ((prediction - target) ** 2).mean() + 0.3 * structure
    assert SquaredErrorWithStructure(ssim_share=0.3)(prediction, target) == pytest.approx(
        float(expected), rel=1e-6
    )


def test_a_constant_target_gives_a_number() -> None:
    loss = SquaredErrorWithStructure()(torch.ones((1, 1, 16, 16)), torch.zeros((1, 1, 16, 16)))
    assert torch.isfinite(loss)
