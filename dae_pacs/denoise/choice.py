"""Choose how a network is run on a device: the fastest way that agrees with float32, measured at load.

The ways are tried from the fastest on. Each runs a small built-in image of noise beside edges, and is taken
when no pixel is further from the definition, float32 layer by layer, than `PROMISED_SIGMA`. What a machine
can do decides, never a clock, so that one machine chooses the same way at each start.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dae_pacs.denoise.fast import FLOAT32, FastUNet, Precision

PROMISED_SIGMA = 0.02
"""The most that a pixel of the built-in image may differ, in units of the noise's standard deviation."""
CHECK_SIDE_PX = 192
EDGES_SIGMA = (20, 200, 1000)
"""Heights of the built-in image's steps: soft tissue, bone in a radiograph, bone in a CT."""

LAYER_BY_LAYER = "float32, layer by layer"
LAST_RESORT = "float32, layer by layer, without oneDNN"
BOTTOM_IN_BFLOAT16: Precision = (torch.float32, torch.float32, torch.float32, torch.bfloat16)
"""A third of the work, where rounding does not reach the finest noise: measured within 0.02 sigma. Two levels
of four in bfloat16 were 0.033 sigma off at worst, all of it 0.08 (docs/performance.md)."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Way:
    """A network made ready for a device."""

    name: str
    network: nn.Module
    """Takes and gives (batch, 1, rows, columns) float32, stabilised."""
    overlap_px: int
    grid_px: int
    difference_sigma: float = 0.0
    """From the definition, on the built-in image, at the worst pixel."""


@torch.inference_mode()
def choose(network: nn.Module, device: torch.device) -> Way:
    """Put a network on a device in the fastest way that keeps the promise.

    Args:
        network: float32, on the CPU, in evaluation mode; built by `denoise.network.build`.
        device: where it is to run.
    """
    network = network.to(device)
    z = built_in_image().to(device)
    with exact_float32():
        expected = network(z)
    for name, precision in _candidates(device) if FastUNet.fits(network) else ():
        try:
            fast = FastUNet(network, precision)  # type: ignore[arg-type]  # what `fits` has just told
            difference = float((fast(z) - expected).abs().max())
        except RuntimeError as problem:  # a convolution that this processor or build of torch lacks
            logger.warning("a way to run the network failed", extra={"way": name, "why": str(problem)})
            continue
        if difference <= PROMISED_SIGMA:  # never true of NaN
            logger.info("way chosen", extra={"way": name, "difference_sigma": round(difference, 5)})
            return _way(name, fast, difference)
        logger.warning(
            "a way to run the network disagrees with float32 and is not used",
            extra={"way": name, "difference_sigma": difference, "promised_sigma": PROMISED_SIGMA},
        )
    return layer_by_layer(network)


def layer_by_layer(network: nn.Module) -> Way:
    """Run the network as it is defined."""
    return _way(LAYER_BY_LAYER, network.to(memory_format=torch.channels_last), 0.0)  # type: ignore[call-overload]


def last_resort(network: nn.Module) -> Way:
    """Run the network as it is defined without oneDNN: where memory was short, that may refuse for good."""
    return _way(LAST_RESORT, _WithoutOneDNN(network), 0.0)


class _WithoutOneDNN(nn.Module):
    """A network whose convolutions are PyTorch's own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.grid_px, self.overlap_px = network.grid_px, network.overlap_px

    def forward(self, z: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of TF32 on processors that have none
            with torch.backends.mkldnn.flags(enabled=False):
                made: Tensor = self.network(z)
        return made


def built_in_image() -> Tensor:
    """Make the image that the ways are compared on: (1, 1, rows, columns) float32, noise of sigma 1."""
    rng = np.random.default_rng(7)
    side = CHECK_SIDE_PX
    z = rng.standard_normal((side, side)) + np.linspace(-30, 30, side)
    for k, height in enumerate(EDGES_SIGMA):
        first = side // 8 + k * side // 4
        z[first : first + side // 6, side // 4 : -side // 4] += height
    return torch.from_numpy(z.astype(np.float32))[None, None]


@contextmanager
def exact_float32() -> Iterator[None]:
    """Keep cuDNN from rounding float32 to TF32, which is its default for convolutions."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def _way(name: str, network: nn.Module, difference: float) -> Way:
    overlap_px, grid_px = (int(getattr(network, key)) for key in ("overlap_px", "grid_px"))
    return Way(name, network, overlap_px, grid_px, difference)


def _candidates(device: torch.device) -> list[tuple[str, Precision]]:
    """Name the ways that are worth trying here, the fastest first."""
    fused = ("float32, fused", FLOAT32)
    if device.type == "cuda":
        return [("float16, fused", (torch.float16,)), fused]
    return [("float32, bottom in bfloat16, fused", BOTTOM_IN_BFLOAT16), fused] if _has_bfloat16() else [fused]


def _has_bfloat16() -> bool:
    """Tell whether the processor multiplies bfloat16 itself; emulated, it is slower than float32."""
    asked = [getattr(torch.cpu, f"_is_{part}_supported", None) for part in ("avx512_bf16", "amx_tile")]
    return any(is_supported() for is_supported in asked if is_supported is not None)
