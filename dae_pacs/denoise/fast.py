"""The network of a bundle, run faster than layer by layer.

`DenoisingUNet.forward` is the definition; this runs the same weights. The means over boxes share their sums,
a convolution applies its activation before its result leaves the cache, and some levels of the U may run in
a short type. Only the prediction of the noise is ever short: the image stays float32, and the two are
subtracted in float32. How far it is from the definition is measured before it is used (`denoise.choice`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.blocks.convolutions import ResidualUnit
from torch import Tensor, nn
from torch.nn import functional

from dae_pacs.denoise.network import DenoisingUNet, local_mean, mirror, pad_end

Precision = tuple[torch.dtype, ...]
"""The type of each level's convolutions, the finest level first; the last one holds for all deeper levels."""

FLOAT32: Precision = (torch.float32,)


@dataclass(frozen=True)
class _Kernel:
    """One convolution without bias."""

    weight: Tensor
    stride: int = 1
    is_transposed: bool = False

    @property
    def padding(self) -> int:
        return (self.weight.shape[-1] - 1) // 2


@dataclass(frozen=True)
class _Unit:
    """MONAI's ResidualUnit: convolutions with their activations, beside a shortcut."""

    kernels: tuple[_Kernel, ...]
    shortcut: _Kernel | None
    """None: the input itself."""


@dataclass(frozen=True)
class _Level:
    """One step of the U: down, what is below, and up again."""

    dtype: torch.dtype
    down: _Unit
    below: "_Level | _Bottom"
    up: _Kernel
    unit: _Unit | None
    """None at the top, where it is one kernel with the head."""


@dataclass(frozen=True)
class _Bottom:
    """The deepest part of the U."""

    dtype: torch.dtype
    unit: _Unit


class FastUNet(nn.Module):
    """A `DenoisingUNet` with its layers fused, on the device of its weights; for inference alone."""

    def __init__(self, network: DenoisingUNet, precision: Precision = FLOAT32) -> None:
        super().__init__()
        self.bands_px, self.knee = network.bands_px, network.knee
        self.grid_px, self.overlap_px = network.grid_px, network.overlap_px
        self._slope = network.negative_slope
        self._top = _read_level(network.unet.model, precision, is_top=True)
        self._last = _Kernel(_in_order(network.last_kernel(), precision[0]))

    @staticmethod
    def fits(network: nn.Module) -> bool:
        """Tell whether this can run a network: one with residual units."""
        return isinstance(network, DenoisingUNet) and network.residual_units > 0

    def forward(self, z: Tensor) -> Tensor:
        """Estimate the noise-free image; what `DenoisingUNet.forward` says."""
        rows, columns = z.shape[-2:]
        bands = shared_bands(z, bands_px=self.bands_px, knee=self.knee)
        padded = pad_end(bands, (-rows) % self.grid_px, (-columns) % self.grid_px)
        features = self._run_level(self._top, padded.contiguous(memory_format=torch.channels_last))
        noise = _convolve(self._last, features, None)
        return z - noise[..., :rows, :columns].to(z.dtype)

    def _run_level(self, level: _Level | _Bottom, x: Tensor) -> Tensor:
        x = x.to(level.dtype)
        if isinstance(level, _Bottom):
            return self._run_unit(level.unit, x)
        skipped = self._run_unit(level.down, x)
        below = self._run_level(level.below, skipped).to(level.dtype)
        up = _convolve(level.up, torch.cat((skipped, below), dim=1), self._slope)
        return up if level.unit is None else self._run_unit(level.unit, up)

    def _run_unit(self, unit: _Unit, x: Tensor) -> Tensor:
        y = x
        for kernel in unit.kernels:
            y = _convolve(kernel, y, self._slope)
        return y.add_(x if unit.shortcut is None else _convolve(unit.shortcut, x, None))


def shared_bands(z: Tensor, *, bands_px: tuple[int, ...], knee: float) -> Tensor:
    """Compute `DenoisingUNet.bands` with sums that the boxes share.

    A box of 33 costs 33 additions a pixel alone; made of boxes of 32 and 1, and 32 of 16 and 16, all boxes
    of all bands cost a dozen together.
    """
    half = bands_px[-1] // 2
    finer, bands = z, []
    for coarser in _means(z, bands_px) if min(z.shape[-2:]) > half else _means_of_few(z, bands_px):
        bands.append(torch.asinh_((finer - coarser).div_(knee)))
        finer = coarser
    return torch.cat(bands, dim=1).mul_(knee)


def _means(z: Tensor, sides_px: tuple[int, ...]) -> Iterator[Tensor]:
    """Give `network.local_mean` for each side, the narrowest first."""
    half = sides_px[-1] // 2
    tall = _box_means(mirror(z, (0, 0, half, half)), sides_px, dim=-2)
    for side_px, mean in zip(sides_px, tall, strict=True):
        yield from _box_means(mirror(mean, (side_px // 2, side_px // 2, 0, 0)), (side_px,), dim=-1)


def _means_of_few(z: Tensor, sides_px: tuple[int, ...]) -> Iterator[Tensor]:
    """Do the same for an image narrower than the widest box, whose border each box meets in its own way."""
    return (local_mean(z, side_px) for side_px in sides_px)


def _box_means(padded: Tensor, sides_px: tuple[int, ...], *, dim: int) -> list[Tensor]:
    """Average over centred boxes along one axis, which is padded for the widest of them."""
    margin = sides_px[-1] // 2
    length = padded.shape[dim] - 2 * margin
    powers = [padded]  # powers[k][i] is the sum of 2^k values from i on
    while 2 << len(powers) - 1 <= sides_px[-1]:
        width = 1 << len(powers) - 1
        last = powers[-1]
        count = last.shape[dim] - width
        powers.append(last.narrow(dim, 0, count) + last.narrow(dim, width, count))
    means = []
    for side_px in sides_px:
        start, total = margin - side_px // 2, None
        for k, power in enumerate(powers):
            if side_px >> k & 1:
                part = power.narrow(dim, start, length)
                total = part.clone() if total is None else total.add_(part)
                start += 1 << k
        if total is None:
            raise ValueError(f"A box of {side_px} pixels has no mean.")
        means.append(total.div_(side_px))
    return means


def _convolve(kernel: _Kernel, x: Tensor, slope: float | None) -> Tensor:
    """Convolve, and apply LeakyReLU where a slope is given; by oneDNN in one go on a CPU."""
    pad, stride = [kernel.padding] * 2, [kernel.stride] * 2
    if x.device.type == "cpu" and slope is not None and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return _convolve_fused(kernel, x, slope)
    if kernel.is_transposed:
        y = functional.conv_transpose2d(
            x, kernel.weight, stride=stride, padding=pad, output_padding=kernel.stride - 1
        )
    else:
        y = functional.conv2d(x, kernel.weight, stride=stride, padding=pad)
    return y if slope is None else functional.leaky_relu_(y, slope)


def _convolve_fused(kernel: _Kernel, x: Tensor, slope: float) -> Tensor:
    """Call the two layers as TorchInductor does: oneDNN applies the second while the first is in cache."""
    pad, stride, act = [kernel.padding] * 2, [kernel.stride] * 2, ("leaky_relu", [slope], "")
    one_dnn: Any = torch.ops.mkldnn
    y: Tensor
    if kernel.is_transposed:
        beyond = [kernel.stride - 1] * 2
        y = one_dnn._convolution_transpose_pointwise(
            x, kernel.weight, None, pad, beyond, stride, [1, 1], 1, *act
        )
    else:
        y = one_dnn._convolution_pointwise(x, kernel.weight, None, pad, stride, [1, 1], 1, *act)
    return y


def _read_level(layers: Any, precision: Precision, *, is_top: bool = False) -> _Level:
    """Take one level of MONAI's UNet apart; Any: it builds nested nn.Sequential and annotates nn.Module."""
    down, skip, (up, unit) = layers
    dtype, deeper = precision[0], precision[1:] or precision
    below = skip.submodule
    return _Level(
        dtype=dtype,
        down=_read_unit(down, dtype),
        below=_Bottom(deeper[0], _read_unit(below, deeper[0]))
        if isinstance(below, ResidualUnit)
        else _read_level(below, deeper),
        up=_Kernel(_in_order(up.conv.weight, dtype), stride=up.conv.stride[0], is_transposed=True),
        unit=None if is_top else _read_unit(unit, dtype),
    )


def _read_unit(unit: ResidualUnit, dtype: torch.dtype) -> _Unit:
    convolutions: Any = [one.conv for one in unit.conv.children()]
    shortcut: Any = unit.residual
    return _Unit(
        kernels=tuple(_Kernel(_in_order(one.weight, dtype), stride=one.stride[0]) for one in convolutions),
        shortcut=None
        if isinstance(shortcut, nn.Identity)
        else _Kernel(_in_order(shortcut.weight, dtype), stride=shortcut.stride[0]),
    )


def _in_order(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
