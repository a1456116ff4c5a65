"""What is known of the noise of one acquisition group: how strong at each signal, and how correlated."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dae_pacs.durable import durable_file
from dae_pacs.errors import NoiseError
from dae_pacs.noise import vst
from dae_pacs.noise.spectrum import WHITE, Spectrum, unit_noise

MAX_NODES = 256
MAX_SIDE = 64


@dataclass(frozen=True)
class NoiseModel:
    """Noise whose variance depends on the signal and whose spectrum does not.

    Args:
        levels: signal levels in `unit`, increasing; between them the variance is linear, outside constant.
        variances: positive, one per level, in `unit` squared.
        spectrum: one quadrant of the noise power spectrum, mean 1 (see `noise.spectrum`).
        unit: of the signal.
        origin: "estimate" when measured, "fallback" when it only bounds the harm, "given" otherwise.
        misfit: root mean square relative distance of the measured variances from `variances`.
        patches: how many flat patches it rests on.
    """

    levels: tuple[float, ...]
    variances: tuple[float, ...]
    spectrum: Spectrum = field(default=WHITE, repr=False)
    unit: str = ""
    origin: Literal["estimate", "fallback", "given"] = "given"
    misfit: float = 0.0
    patches: int = 0

    def __post_init__(self) -> None:
        """Refuse tables that can't be integrated."""
        x, v = (np.asarray(part, dtype=np.float64) for part in (self.levels, self.variances))
        power = _as_square(self.spectrum)
        if not (1 <= len(x) <= MAX_NODES and len(x) == len(v)):
            raise NoiseError(
                f"Noise model: {len(x)} levels, {len(v)} variances; expected as many, at most {MAX_NODES}."
            )
        if not (np.isfinite(x).all() and np.isfinite(v).all() and (np.diff(x) > 0).all() and (v > 0).all()):
            raise NoiseError(
                "Noise model: levels must increase and variances be above zero, all of them finite. "
                "Measure it again from the images."
            )
        if not (np.isfinite(power).all() and (power >= 0).all() and power.mean() > 0):
            raise NoiseError("Noise model: the spectrum must be finite, not negative, and not all zero.")

    def variance_at(self, x: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Give the noise variance at signal levels of any shape."""
        return np.asarray(np.interp(x, self.levels, self.variances), dtype=np.float64)

    def sigma_at(self, x: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Give the noise's standard deviation at signal levels of any shape."""
        return np.sqrt(self.variance_at(x))

    def stabilise(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Transform so that the noise has a standard deviation of 1 everywhere; strictly increasing, finite.

        Args:
            x: any shape, float32, in `unit`.
        """
        return vst.forward(x, self._pieces)

    def invert(self, z: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn an estimate of the noise-free z into x without bias (Mäkitalo & Foi 2013)."""
        return vst.backward_unbiased(z, self._pieces, self._bias)

    def carry_over(
        self,
        x: NDArray[np.float32],
        z: NDArray[np.float32],
        z_new: NDArray[np.float32],
        *,
        strength: float,
    ) -> NDArray[np.float32]:
        """Give x the change from z = stabilise(x) to z_new; bit for bit x where z did not change.

        Args:
            x: any shape, float32.
            z: the same shape.
            z_new: the same shape; z with a share `strength` of its noise removed.
            strength: 0..1.
        """
        if strength <= 0:
            return x.copy()
        return vst.change(x, z, z_new, of=self._pieces, table=self._bias, strength=strength)

    def sample(self, signal: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw this noise for an image.

        Args:
            signal: (rows, columns) float32, the expected signal.
            rng: numpy generator.

        Returns:
            (rows, columns) float32 noise, of mean 0, to be added to the signal.
        """
        rows, columns = signal.shape
        return (unit_noise((rows, columns), self.spectrum, rng) * self.sigma_at(signal)).astype(np.float32)

    def to_json(self) -> str:
        """Write everything as one line of JSON, the same for equal models."""
        return json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)

    def save(self, path: Path) -> None:
        """Write `to_json` to a file, whole or not at all."""
        with durable_file(path) as file:
            file.write(self.to_json().encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> "NoiseModel":
        """Read what `save` wrote.

        Raises:
            NoiseError: it can't be read, or is no noise model.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise NoiseError(
                f"Noise model {path}: can't be read ({problem}). Measure it again from the images."
            ) from problem
        return cls.from_json(text)

    @classmethod
    def from_json(cls, text: str) -> "NoiseModel":
        """Read what `to_json` wrote.

        Raises:
            NoiseError: it is no noise model.
        """
        try:
            fields = json.loads(text)
            return cls(
                levels=tuple(map(float, fields["levels"])),
                variances=tuple(map(float, fields["variances"])),
                spectrum=tuple(tuple(map(float, row)) for row in fields["spectrum"]),
                unit=str(fields["unit"]),
                origin=fields["origin"],
                misfit=float(fields["misfit"]),
                patches=int(fields["patches"]),
            )
        except (ValueError, TypeError, KeyError, RecursionError) as problem:
            raise NoiseError(
                f"Noise model: not what dae-pacs wrote ({type(problem).__name__}: {problem}). "
                "Measure it again from the images."
            ) from problem

    @property
    def _pieces(self) -> vst.Pieces:
        return vst.pieces(self.levels, self.variances)

    @property
    def _bias(self) -> NDArray[np.float64]:
        return vst.bias_table(self.levels, self.variances)


def affine(
    *, gain: float, offset: float, low: float, high: float, spectrum: Spectrum = WHITE, unit: str = ""
) -> NoiseModel:
    """Make the model of variance gain·x + offset between two levels: Poisson-Gaussian noise.

    Args:
        gain: variance per unit of x.
        offset: variance at x = 0.
        low: lowest signal; the variance there must be positive.
        high: highest signal.
        spectrum: of the noise.
        unit: of x.
    """
    return NoiseModel(
        levels=(low, high),
        variances=(gain * low + offset, gain * high + offset),
        spectrum=spectrum,
        unit=unit,
    )


def _as_square(spectrum: Spectrum) -> NDArray[np.float64]:
    side = len(spectrum)
    if not 1 <= side <= MAX_SIDE or any(len(row) != side for row in spectrum):
        raise NoiseError(f"Noise model: the spectrum must be square, 1 to {MAX_SIDE} on a side.")
    return np.asarray(spectrum, dtype=np.float64)
