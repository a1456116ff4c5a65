"""What a site sends: kinds of studies, how many an hour, and how unevenly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dae_pacs.errors import ConfigError

HOURS_OF_A_WEEK: Final = 168.0
MOST_IMAGES: Final = 1_000_000
"""Of one study: beyond it somebody mistook a study for an archive."""


@dataclass(frozen=True)
class StudyKind:
    """One kind of study, as it reaches the node."""

    name: str
    images: int
    megapixels: float
    """Of each image."""
    bytes_per_pixel: float = 2.0
    """As it is sent: 2 for the usual 16 stored bits, less where the sender compresses."""

    @property
    def study_megapixels(self) -> float:
        """All images together."""
        return self.images * self.megapixels

    @property
    def megabytes(self) -> float:
        """One study, in units of 10^6 bytes."""
        return self.study_megapixels * self.bytes_per_pixel


# Sizes of the usual matrix; the numbers of images are assumptions, and every one can be given anew.
KINDS: Final[Mapping[str, StudyKind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            StudyKind("ct", images=200, megapixels=0.262),  # 512 x 512
            StudyKind("dx", images=2, megapixels=7.2),  # 3000 x 2400: 43 x 35 cm at 0.143 mm
            StudyKind("panoramic", images=1, megapixels=3.4),  # 2600 x 1300
            StudyKind("intraoral", images=4, megapixels=2.2),  # 1700 x 1300
            StudyKind("cbct", images=400, megapixels=0.25),  # 500 x 500
        )
    }
)


@dataclass(frozen=True)
class Workload:
    """Studies an hour on average, by kind, and what else decides about hardware."""

    per_hour: tuple[tuple[StudyKind, float], ...]
    peak: float = 3.0
    """The busiest hour over the average hour of the week."""
    keep_hours: float = HOURS_OF_A_WEEK
    outputs: int = 1
    """Derived series made of each series: further strengths and the removed part count."""
    destinations: int = 1

    @property
    def studies_per_hour(self) -> float:
        """On average."""
        return sum(rate for _, rate in self.per_hour)

    def per_hour_of(self, what: str) -> float:
        """Sum an attribute of `StudyKind` over an average hour: "images", "study_megapixels", "megabytes"."""
        return sum(rate * float(getattr(kind, what)) for kind, rate in self.per_hour)


def mixed(
    per_hour: float, shares: Mapping[str, float], kinds: Mapping[str, StudyKind]
) -> tuple[tuple[StudyKind, float], ...]:
    """Spread studies an hour over kinds, by their shares.

    Raises:
        ConfigError: a kind is unknown, or there is nothing to share out.
    """
    whole = sum(shares.values())
    if not per_hour > 0 or not whole > 0 or min(shares.values()) < 0:
        raise ConfigError(
            f"{per_hour:g} studies an hour in shares of {dict(shares)}: both must be above zero, "
            "as in --per-hour 10 --mix ct=1,dx=3."
        )
    for name in shares:
        if name not in kinds:
            raise ConfigError(
                f"Kind of study {name!r}: not known; there are {', '.join(kinds)}. "
                "Describe your own: --kind NAME=IMAGESxMEGAPIXELS"
            )
    return tuple((kinds[name], per_hour * share / whole) for name, share in shares.items() if share)


def read_mix(text: str) -> dict[str, float]:
    """Read "ct=1,dx=3".

    Raises:
        ConfigError: it is something else.
    """
    shares = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        try:
            shares[name] = float(share or "1")
        except ValueError:
            raise ConfigError(f"--mix {text!r}: expected kinds and shares, as in ct=1,dx=3.") from None
    return shares


def read_kinds(texts: Sequence[str]) -> dict[str, StudyKind]:
    """Read "NAME=IMAGESxMEGAPIXELS" or "NAME=IMAGESxMEGAPIXELSxBYTES", on top of the known kinds.

    Raises:
        ConfigError: it is something else.
    """
    kinds = dict(KINDS)
    for text in texts:
        name, _, rest = text.partition("=")
        try:
            images, megapixels, *more = (float(part) for part in rest.split("x"))
            kind = StudyKind(name, int(images), megapixels, *more)
        except (ValueError, TypeError):
            raise ConfigError(
                f"--kind {text!r}: expected NAME=IMAGESxMEGAPIXELS, as in ct=200x0.262; "
                "bytes a pixel may follow: ct=200x0.262x1.1"
            ) from None
        if not name or not 1 <= kind.images <= MOST_IMAGES or not megapixels > 0 or kind.bytes_per_pixel <= 0:
            raise ConfigError(f"--kind {text!r}: images, megapixels and bytes a pixel must be above zero.")
        kinds[name] = kind
    return kinds
