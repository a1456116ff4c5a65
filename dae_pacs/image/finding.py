"""One thing in which a derived object differs from its source."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """What differs, and whether it may. Never a value of the patient's."""

    what: str
    """A DICOM keyword, or "pixels"."""
    words: str
    may_differ: bool
