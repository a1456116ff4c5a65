"""Losses against their formulas."""

import pytest
import torch
from monai.losses.ssim_loss import SSIMLoss

from dae_pacs.learn.losses import (
    LogSquaredError,
    MaskedSquaredError,
    NeighbourError,
    SquaredErrorWithStructure,
    StructureError,
)


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = 50 * torch.rand((2, 1, 32, 32), generator=generator) - 20
    return target + torch.randn(target.shape, generator=generator), target


def test_without_structure_it_is_the_mean_squared_error() -> None:
    prediction, target = pair()
    assert torch.equal(
        SquaredErrorWithStructure(ssim_share=0.0)(prediction, target), ((prediction - target) ** 2).mean()
    )


def test_structure_alone_follows_its_formula() -> None:
    """Where both are constant SSIM is (2ab + c1) / (a² + b² + c1), c1 = 0.01²; the zeros set the range."""
    target = torch.stack([torch.full((1, 24, 24), 10.0), torch.zeros(1, 24, 24)])
    prediction = torch.stack([torch.full((1, 24, 24), 8.0), torch.zeros(1, 24, 24)])
    first = (2 * 0.8 + 1e-4) / (0.8**2 + 1 + 1e-4)
    expected = 1 - (first + 1) / 2
    assert float(StructureError(window_px=3)(prediction, target)) == pytest.approx(expected, rel=0.01)
    assert float(StructureError(window_px=3)(target, target)) == pytest.approx(0, abs=1e-6)


def test_structure_is_compared_on_a_scale_of_one() -> None:
    prediction, target = pair()
    low, span = target.min(), target.max() - target.min()
    structure = SSIMLoss(spatial_dims=2)((prediction - low) / span, (target - low) / span)
    assert StructureError()(prediction, target) == pytest.approx(float(structure), rel=1e-6)
    expected = ((prediction - target) ** 2).mean() + 0.3 * structure
    assert SquaredErrorWithStructure(ssim_share=0.3)(prediction, target) == pytest.approx(
        float(expected), rel=1e-6
    )


@pytest.mark.parametrize("loss", [StructureError(), SquaredErrorWithStructure()])
def test_a_constant_target_gives_a_number(loss: torch.nn.Module) -> None:
    assert torch.isfinite(loss(torch.ones((1, 1, 16, 16)), torch.zeros((1, 1, 16, 16))))


def test_the_log_counts_each_patch_by_its_own_error() -> None:
    target = torch.zeros(2, 1, 4, 4)
    prediction = torch.stack([torch.full((1, 4, 4), 2.0), torch.full((1, 4, 4), 20.0)])
    expected = (torch.tensor([4.5, 400.5])).log().mean()
    torch.testing.assert_close(LogSquaredError(floor=0.5)(prediction, target), expected)


def test_only_what_the_mask_weighs_counts() -> None:
    prediction = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], requires_grad=True)
    target = torch.tensor([[[[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.5], [0.0, 0.0]]]])
    loss = MaskedSquaredError()(prediction, target)
    assert loss.item() == pytest.approx((1 * 1 + 0.5 * 4) / 1.5)
    loss.backward()
    assert prediction.grad is not None
    assert not prediction.grad[..., 1, :].any()


def test_a_mask_of_nothing_gives_zero() -> None:
    assert float(MaskedSquaredError()(torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 4, 4))) == 0.0


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 4.0), (1.0, 4.0 + 2.25), (2.0, 4.0 + 4.5)])
def test_the_neighbours_differ_by_what_the_network_makes_of_them(gamma: float, expected: float) -> None:
    prediction = torch.full((1, 1, 4, 4), 5.0)
    target = torch.stack([torch.full((4, 4), 3.0), torch.full((4, 4), 0.5)])[None]
    assert float(NeighbourError(gamma=gamma)(prediction, target)) == pytest.approx(expected)


def test_without_the_regularisers_channel_it_is_the_plain_pair() -> None:
    prediction, target = pair()
    assert torch.equal(NeighbourError()(prediction, target), ((prediction - target) ** 2).mean())
