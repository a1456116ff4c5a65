"""What one node, one worker and one association do: constants, each with the command that measured it."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.resources import files

from dae_pacs.errors import ConfigError


@dataclass(frozen=True)
class Measured:
    """The constants of one kind of machine. Seconds of the wall, as nothing else ran."""

    name: str
    machine: str
    receive_s_an_object: float
    """From its first byte to the answer, beside what its megabytes take: mostly one flush."""
    receive_mb_a_second: float
    decode_s_a_megapixel: float
    denoise_s_a_megapixel: float
    encode_s_a_megapixel: float
    image_s: float
    """Of the worker for each image, whatever its size: open, header, flush, digest, report."""
    series_s: float
    """Of the worker for each series: measuring its noise."""
    send_s_an_object: float
    send_mb_a_second: float
    """Both as the archive takes them: it is mostly the slower side."""
    quiet_s: float = 2.0
    """`node.quiet_s`: a series is complete after so much silence."""
    shares_cores: bool = True
    """Decoding and writing take cores that the network would use. On a GPU they run beside it, though not
    beside each other: one process has one interpreter lock, and most of what they do is headers."""

    def compute_s(self, images: int, megapixels: float) -> float:
        """Say how long one worker takes for one series of so many images of so many megapixels each."""
        pixels = images * megapixels
        codecs = (self.decode_s_a_megapixel + self.encode_s_a_megapixel) * pixels + self.image_s * images
        network = self.denoise_s_a_megapixel * pixels
        return self.series_s + (network + codecs if self.shares_cores else max(network, codecs))

    def receive_s(self, images: int, megabytes: float) -> float:
        """Say how long one node takes to receive and flush so many objects, all their megabytes together."""
        return self.receive_s_an_object * images + megabytes / self.receive_mb_a_second

    def send_s(self, images: int, megabytes: float) -> float:
        """Say how long one association takes to deliver them."""
        return self.send_s_an_object * images + megabytes / self.send_mb_a_second


def known() -> Mapping[str, Measured]:
    """Read the machines that were measured, by name."""
    text = files("dae_pacs.capacity").joinpath("measured.toml").read_text(encoding="utf-8")
    return {name: _measured(name, values) for name, values in tomllib.loads(text).items()}


def machine(name: str) -> Measured:
    """Give the constants of a machine by name.

    Raises:
        ConfigError: no such machine was measured.
    """
    machines = known()
    if name not in machines:
        raise ConfigError(
            f"Machine {name!r}: not measured; there are {', '.join(machines)}. Measure this one: "
            "dae-pacs plan --measure"
        )
    return machines[name]


def _measured(name: str, values: Mapping[str, object]) -> Measured:
    names = {field.name for field in fields(Measured)} - {"name"}
    return Measured(name=name, **{key: value for key, value in values.items() if key in names})  # type: ignore[arg-type]
