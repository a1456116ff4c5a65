"""Measures on arrays whose result is known."""

import pytest
import torch

from dae_pacs.learn.metrics import RangePsnr


def test_psnr_takes_the_references_own_range() -> None:
    reference = torch.tensor([0.0, 20.0] * 50).reshape(1, 1, 10, 10)
    metric = RangePsnr()
    metric(reference + 2, reference)
    assert float(metric.aggregate()) == pytest.approx(20.0)


def test_each_image_counts_the_same() -> None:
    reference = torch.tensor([0.0, 1.0] * 50).reshape(1, 1, 10, 10)
    metric = RangePsnr()
    metric(torch.cat([reference + 0.1, reference + 0.01]), torch.cat([reference, reference]))
    assert float(metric.aggregate()) == pytest.approx(30.0, rel=1e-4)


def test_an_exact_copy_gives_a_number() -> None:
    reference = torch.rand(1, 1, 8, 8)
    metric = RangePsnr()
    metric(reference, reference)
    assert torch.isfinite(metric.aggregate())
