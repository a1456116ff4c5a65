"""One encoded message on its way to where audit messages go."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A message as bytes."""

    time_ns: int
    """When it was recorded, since 1970."""
    xml: bytes
    """UTF-8, one line, no declaration."""
