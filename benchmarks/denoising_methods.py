"""What `benchmarks/denoising.py` denoises with: classical methods, bundles, and the seed's autoencoder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from denoising_data import Case, Plane
from monai.bundle import ConfigParser
from scipy.ndimage import gaussian_filter
from skimage.restoration import denoise_nl_means, denoise_wavelet
from torch import nn
from torch.nn import functional

from dae_pacs.denoise.bundle import load_bundle
from dae_pacs.denoise.engine import TorchDenoiser, open_denoiser
from dae_pacs.denoise.protocol import Denoiser
from dae_pacs.noise.model import NoiseModel
from dae_pacs.noise.spectrum import amplitude

BLUR_SIGMAS_PX = (0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5, 3.2)
NLM_STRENGTHS = (0.6, 0.8, 1.1)
GRID_PX = 8

Blind = Mapping[tuple[str, float], NoiseModel]
"""The noise estimated of each acquisition group, from its noisy images alone."""


def best_blur(case: Case) -> Plane:
    """Blur with the sigma that the reference says is best."""
    return _best(case, blurred(case.noisy))


def blurred(noisy: Plane) -> list[Plane]:
    """Blur with each sigma."""
    return [gaussian_filter(noisy, sigma) for sigma in BLUR_SIGMAS_PX]


def nlm(case: Case) -> Plane:
    """Non-local means on the stabilised image, with the strength that the reference says is best."""
    return _best(case, nlm_at_each_strength(case.noisy, case.true_model()))


def nlm_at_each_strength(noisy: Plane, model: NoiseModel) -> list[Plane]:
    """Stabilise, smooth with each strength, and invert."""
    z = model.stabilise(noisy)
    smoothed = [
        denoise_nl_means(z, patch_size=5, patch_distance=6, h=h, sigma=1.0, fast_mode=True)
        for h in NLM_STRENGTHS
    ]
    return [model.invert(plane.astype(np.float32)) for plane in smoothed]


def wavelet(case: Case) -> Plane:
    """BayesShrink on the stabilised image, told the true sigma."""
    model = case.true_model()
    z = model.stabilise(case.noisy)
    shrunk = denoise_wavelet(
        z, sigma=1.0, wavelet="db4", method="BayesShrink", mode="soft", rescale_sigma=False
    )
    return model.invert(shrunk.astype(np.float32))


CLASSICAL: Mapping[str, Callable[[Case], Plane]] = {
    "input": lambda case: case.noisy,
    "best_blur": best_blur,
    "nlm_vst": nlm,
    "wavelet_vst": wavelet,
}


def _best(case: Case, candidates: Sequence[Plane]) -> Plane:
    counted = case.reference.counted
    errors = [float(np.mean((plane - case.clean)[counted] ** 2)) for plane in candidates]
    return candidates[int(np.argmin(errors))]


def give_bm3d(cases: Sequence[Case], folder: Path) -> None:
    """Write what benchmarks/peers/bm3d_peer.py reads: stabilised images, and the true spectrum."""
    for case in cases:
        model = case.true_model()
        z = model.stabilise(case.noisy)
        is_white = len(model.spectrum) == 1
        power = np.ones(1) if is_white else whole_plane(amplitude(z.shape, model.spectrum) ** 2, z.shape[1])
        np.savez(folder / f"{case.name}.npz", z=z, power=power)


def take_bm3d(cases: Sequence[Case], folder: Path) -> list[Plane]:
    """Read what it wrote, and invert."""
    return [case.true_model().invert(np.load(folder / f"{case.name}.npy")) for case in cases]


def whole_plane(half: Plane, columns: int) -> Plane:
    """Turn a power at the frequencies of `rfft2` into one at those of `fft2`: it is the same at -f."""
    mirrored = half[(-np.arange(len(half))) % len(half)][:, 1 : (columns + 1) // 2][:, ::-1]
    return np.concatenate([half, mirrored], axis=1)


def give_planes(planes: Mapping[str, Plane], folder: Path) -> None:
    """Write .npy files, as benchmarks/peers/careamics_peer.py reads and writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, plane in planes.items():
        np.save(folder / f"{name}.npy", plane)


def taken_planes(cases: Sequence[Case], folder: Path) -> list[Plane]:
    """Read one .npy file per case."""
    return [np.load(folder / f"{case.name}.npy") for case in cases]


@dataclass(frozen=True)
class Bundled:
    """A bundle at work: how strong, and told what of the noise."""

    denoiser: Denoiser
    strength: float = 1.0
    is_blind: bool = True

    def __call__(self, cases: Sequence[Case], blind: Blind) -> list[Plane]:
        """Denoise each case's noisy crop."""
        return [self._one(case, blind) for case in cases]

    def _one(self, case: Case, blind: Blind) -> Plane:
        noise = blind[case.group] if self.is_blind else case.true_model()
        keep = np.zeros_like(case.noisy, dtype=np.bool_)[None]
        return self.denoiser.denoise(case.noisy[None], keep, noise=noise, strength=self.strength)[0]


def estimated(cases: Sequence[Case], denoiser: Denoiser) -> Blind:
    """Let a denoiser measure each acquisition group's noise, as the node does, on the whole noisy images."""
    groups: dict[tuple[str, float], list[Plane]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case.whole)
    return {
        key: denoiser.calibrate(wholes, [np.zeros_like(whole, dtype=np.bool_) for whole in wholes])
        for key, wholes in groups.items()
    }


def opened(bundle: Path) -> TorchDenoiser:
    """Open a bundle on the CPU."""
    return open_denoiser(bundle, device="cpu")


def opened_at(bundle: Path, checkpoint: Path) -> TorchDenoiser:
    """Open a bundle with the averaged weights that a checkpoint of its training holds."""
    weights = torch.load(checkpoint, map_location="cpu", weights_only=True)
    return TorchDenoiser(replace(load_bundle(bundle), weights=weights), device=torch.device("cpu"))


def autoencoder(recipe: Path, checkpoint: Path) -> nn.Module:
    """Build the seed's network with the weights of a checkpoint."""
    parser = ConfigParser()
    parser.read_config(str(recipe))
    network: nn.Module = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    return network.eval()


@torch.inference_mode()
def passed_through(network: nn.Module, cases: Sequence[Case]) -> list[Plane]:
    """Send each noisy crop through as the recipe does: scaled to 0..1, and back."""
    planes = []
    for case in cases:
        low, span = float(case.noisy.min()), float(np.ptp(case.noisy))
        rows, columns = case.noisy.shape
        scaled = torch.from_numpy((case.noisy - low) / span)[None, None]
        padded = functional.pad(scaled, (0, -columns % GRID_PX, 0, -rows % GRID_PX), mode="replicate")
        planes.append(network(padded)[0, 0, :rows, :columns].numpy() * span + low)
    return planes
