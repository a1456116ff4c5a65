"""The copies of an object that may go out in its place, where an archive does not take its transfer syntax.

Only what changes no value: another way to write the same data set, or pixels decompressed that were
compressed without loss. What was compressed with loss goes out as it is or not at all: decoders differ by a
grey level, and the object must be the same wherever it lies.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from pydicom import uid

from dae_pacs.dimse.contexts import EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN
from dae_pacs.dimse.scu import MakeCopy
from dae_pacs.image.files import plain_copy
from dae_pacs.image.implicit import implicit_copy
from dae_pacs.spool.files import SpoolFiles

REVERSIBLE: Final = frozenset(
    str(syntax)
    for syntax in (
        uid.RLELossless,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
        uid.JPEGLSLossless,
        uid.JPEG2000Lossless,
        uid.HTJ2KLossless,
        uid.HTJ2KLosslessRPCL,
    )
)
"""Transfer syntaxes that say of themselves that nothing was lost."""


def copies_of(path: Path, transfer_syntax_uid: str, files: SpoolFiles) -> Mapping[str, MakeCopy]:
    """Give what may go out in place of an object, by transfer syntax, the best first."""
    if transfer_syntax_uid == EXPLICIT_LITTLE_ENDIAN:
        return {IMPLICIT_LITTLE_ENDIAN: partial(_implicit, path, files)}
    if transfer_syntax_uid in REVERSIBLE:
        return {
            EXPLICIT_LITTLE_ENDIAN: partial(_plain, path, files),
            IMPLICIT_LITTLE_ENDIAN: partial(_plain_implicit, path, files),
        }
    return {}


@contextmanager
def _plain(path: Path, files: SpoolFiles) -> Iterator[Path]:
    with files.scratch() as copy:
        plain_copy(path, copy)
        yield copy


@contextmanager
def _implicit(path: Path, files: SpoolFiles) -> Iterator[Path]:
    with files.scratch() as copy:
        implicit_copy(path, copy)
        yield copy


@contextmanager
def _plain_implicit(path: Path, files: SpoolFiles) -> Iterator[Path]:
    with _plain(path, files) as plain, _implicit(plain, files) as copy:
        yield copy
