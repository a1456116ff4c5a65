"""The network that predicts the noise of a stabilised image, and the only way to build one from a file.

Bias-free and norm-free: a flat image comes back as it is, and a tile sees what the whole image sees. The
network looks at bands of z whose large values are compressed, since z counts in units of the noise: an edge
of bone in a CT stands a thousand high, and would drown the noise in all that the network sees beside it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.networks.blocks.convolutions import ResidualUnit
from monai.networks.nets.unet import UNet
from torch import Tensor, nn
from torch.nn import functional

from dae_pacs.errors import BundleError

TARGETS = ("dae_pacs.denoise.network.DenoisingUNet", "DenoisingUNet")
MAX_CHANNELS = 1024
MAX_LEVELS = 6
MAX_RESIDUAL_UNITS = 4
MAX_BANDS = 6
MAX_BAND_PX = 129


class DenoisingUNet(nn.Module):
    """MONAI's UNet under a bias-free head; out = z - noise, where noise = head(unet(bands of z)).

    Noise of a stabilised image does not depend on its level, so the bands hold differences alone: the result
    follows any offset of z exactly, and zero padding at the border meets values near zero. A band b enters as
    knee·asinh(b / knee): as it is where it is of the noise's size, compressed where it is an edge. Beside a
    strong edge the coarse bands lose the noise's detail, and the fine ones keep it.

    Args:
        channels: features per level; the last is the bottom of the U.
        strides: one per step between levels.
        residual_units: convolutions per level (MONAI's num_res_units).
        features: channels between the U and its 1×1 head. One channel behind a ReLU is born dead for about
            half the seeds (DESIGN.md); 32 behind an activation with a slope on both sides can't be.
        negative_slope: of the LeakyReLU.
        bands_px: sides of the boxes whose means part the bands, increasing and odd; the level above the last
            is left out.
        knee: of the compression, in units of the noise's sigma.
    """

    def __init__(  # noqa: PLR0913  # the entries of a bundle's network.json
        self,
        *,
        channels: Sequence[int] = (32, 64, 128, 256),
        strides: Sequence[int] = (2, 2, 2),
        residual_units: int = 2,
        features: int = 32,
        negative_slope: float = 0.1,
        bands_px: Sequence[int] = (3, 9, 33),
        knee: float = 4.0,
    ) -> None:
        super().__init__()
        self.unet = UNet(
            spatial_dims=2,
            in_channels=len(bands_px),
            out_channels=features,
            channels=tuple(channels),
            strides=tuple(strides),
            num_res_units=residual_units,
            act=("LEAKYRELU", {"negative_slope": negative_slope, "inplace": True}),
            norm=None,  # type: ignore[arg-type]  # MONAI accepts None; its annotation does not say so
            bias=False,
        )
        self.head = nn.Conv2d(features, 1, kernel_size=1, bias=False)
        self.residual_units = residual_units
        self.negative_slope = negative_slope
        self.bands_px = tuple(bands_px)
        self.knee = knee
        self.grid_px = math.prod(strides)
        reach_px = _reach_px(strides, residual_units) + max(bands_px) // 2
        self.overlap_px = reach_px // self.grid_px * self.grid_px

    def forward(self, z: Tensor) -> Tensor:
        """Estimate the noise-free image.

        Args:
            z: (batch, 1, rows, columns) float, stabilised: its noise has a standard deviation of about 1.

        Returns:
            The same shape.
        """
        rows, columns = z.shape[-2:]
        padded = pad_end(self.bands(z), (-rows) % self.grid_px, (-columns) % self.grid_px)
        return z - self._noise(padded)[..., :rows, :columns]

    def bands(self, z: Tensor) -> Tensor:
        """Part an image into the compressed differences of its means: what the U sees.

        Args:
            z: (batch, 1, rows, columns).

        Returns:
            (batch, bands, rows, columns).
        """
        finer, bands = z, []
        for side_px in self.bands_px:
            coarser = local_mean(z, side_px)
            bands.append(self.knee * torch.asinh((finer - coarser) / self.knee))
            finer = coarser
        return torch.cat(bands, dim=1)

    def _noise(self, bands: Tensor) -> Tensor:
        """head(unet(bands)), with the last convolution and the head as one kernel.

        MONAI puts no activation behind the topmost residual unit, so u + conv(u) and the 1×1 head are one
        linear map, one 3×3 convolution from 32 channels to 1: a quarter of the network's time less.
        """
        layers: Any = self.unet.model  # MONAI builds it as nn.Sequential and annotates it as nn.Module
        down, skip, up = layers
        *before, last = up
        if not isinstance(last, ResidualUnit):
            plain: Tensor = self.head(self.unet(bands))
            return plain
        features = skip(down(bands))
        for layer in before:
            features = layer(features)
        return functional.conv2d(features, self.last_kernel(), padding=1)

    def last_kernel(self) -> Tensor:
        """Make the last convolution, its shortcut and the head one kernel of (1, features, 3, 3)."""
        layers: Any = self.unet.model
        last: ResidualUnit = layers[2][-1]
        convolution: Tensor = last.get_parameter("conv.unit0.conv.weight")
        kernel = torch.einsum("oc,cikl->oikl", self.head.weight[:, :, 0, 0], convolution)
        return kernel + functional.pad(self.head.weight, (1, 1, 1, 1))


def local_mean(z: Tensor, side_px: int) -> Tensor:
    """Average over a box around each pixel, mirrored at the border.

    Args:
        z: (batch, 1, rows, columns).
        side_px: odd.
    """
    half = side_px // 2
    tall = functional.avg_pool2d(mirror(z, (0, 0, half, half)), (side_px, 1), stride=1)
    return functional.avg_pool2d(mirror(tall, (half, half, 0, 0)), (1, side_px), stride=1)


def pad_end(z: Tensor, rows: int, columns: int) -> Tensor:
    """Mirror rows below and columns to the right of (batch, channels, rows, columns)."""
    return mirror(z, (0, columns, 0, rows)) if rows or columns else z


def build(config: Mapping[str, Any]) -> nn.Module:
    """Build a network from the contents of a bundle's network.json, which may come from anyone.

    Nothing in it is executed or imported: one known `_target_`, numbers within bounds, and no `$`.

    Raises:
        BundleError: an unknown target or argument, an expression, or a value out of bounds.
    """
    arguments = dict(config)
    if "$" in repr(config):
        raise BundleError(
            "network.json: it holds an expression ($); a network is described by plain numbers alone. "
            "Write the values themselves."
        )
    target = arguments.pop("_target_", None)
    if target not in TARGETS:
        raise BundleError(
            f"network.json: _target_ is {target!r}; the node builds only {TARGETS[0]}. "
            "Train a bundle with one of the recipes in training/."
        )
    unknown = sorted(set(arguments) - _CHECKS.keys())
    if unknown:
        raise BundleError(
            f"network.json: unknown argument {', '.join(map(repr, unknown))}; known are {', '.join(_CHECKS)}."
        )
    for name, value in arguments.items():
        is_valid, expectation = _CHECKS[name]
        if not is_valid(value):
            raise BundleError(f"network.json: {name} is {value!r}; expected {expectation}.")
    network = {"channels": (32, 64, 128, 256), "strides": (2, 2, 2), **arguments}
    if len(network["strides"]) != len(network["channels"]) - 1:
        raise BundleError(
            f"network.json: {len(network['channels'])} channels need {len(network['channels']) - 1} strides, "
            f"found {len(network['strides'])}."
        )
    return DenoisingUNet(**arguments)


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _are_whole(values: object, low: int, high: int, most: int) -> bool:
    return (
        isinstance(values, list | tuple)
        and 1 <= len(values) <= most
        and all(_is_whole(value, low, high) for value in values)
    )


def _are_odd_and_increase(values: Sequence[int]) -> bool:
    return all(value % 2 for value in values) and sorted(set(values)) == list(values)


_CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "channels": (
        lambda v: _are_whole(v, 1, MAX_CHANNELS, MAX_LEVELS) and len(v) >= 2,
        f"2 to {MAX_LEVELS} whole numbers from 1 to {MAX_CHANNELS}",
    ),
    "strides": (lambda v: _are_whole(v, 1, 2, MAX_LEVELS - 1), f"1 to {MAX_LEVELS - 1} times 1 or 2"),
    "residual_units": (
        lambda v: _is_whole(v, 0, MAX_RESIDUAL_UNITS),
        f"a whole number from 0 to {MAX_RESIDUAL_UNITS}",
    ),
    "features": (lambda v: _is_whole(v, 1, MAX_CHANNELS), f"a whole number from 1 to {MAX_CHANNELS}"),
    "negative_slope": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0 < v <= 1,
        "a number above 0 and at most 1",
    ),
    "bands_px": (
        lambda v: _are_whole(v, 3, MAX_BAND_PX, MAX_BANDS) and _are_odd_and_increase(v),
        f"1 to {MAX_BANDS} increasing odd numbers from 3 to {MAX_BAND_PX}",
    ),
    "knee": (
        lambda v: isinstance(v, int | float) and not isinstance(v, bool) and 0.5 <= v <= 1e6,
        "a number from 0.5 to 1000000",
    ),
}


def mirror(z: Tensor, pad: tuple[int, int, int, int]) -> Tensor:
    """Pad (left, right, top, bottom) by reflection, by repeating the border where the image is too small."""
    rows, columns = z.shape[-2:]
    mode = "reflect" if max(pad[:2]) < columns and max(pad[2:]) < rows else "replicate"
    return functional.pad(z, pad, mode=mode)


def _reach_px(strides: Sequence[int], residual_units: int) -> int:
    """How far, in pixels, the U's output looks to each side: its 3×3 convolutions, each times its jump."""
    convolutions = max(residual_units, 1)
    reach, jump = 0, 1
    for stride in strides:
        reach += jump + (convolutions - 1) * jump * stride
        jump *= stride
    reach += convolutions * jump
    for stride in reversed(strides):
        jump //= stride
        reach += 2 * jump
    return reach
