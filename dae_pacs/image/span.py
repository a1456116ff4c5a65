"""A stretch of bytes in a file or in memory that is read piece by piece.

Pixel data may be larger than memory: an opened object carries the place where they stand instead of them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataelem import DataElement, RawDataElement

from dae_pacs.errors import NotDicomError, PixelError

Read = Callable[[int, int], bytes]
"""Gives the bytes from an offset on, of a size."""


@dataclass(frozen=True)
class Span:
    """Where a value's bytes stand. A file is opened for each use and not kept open."""

    source: Path | bytes
    start: int
    size_bytes: int

    @contextmanager
    def reader(self) -> Iterator[Read]:
        """Open the span for several reads.

        Raises:
            NotDicomError: the file can't be read any more.
            PixelError: a read reaches beyond the span, or the file was cut off after it was opened.
        """
        if isinstance(self.source, bytes):
            data = self.source
            begin = self.start
            yield lambda offset, size: self._checked(
                data[begin + offset : begin + offset + size], offset, size
            )
            return
        try:
            with self.source.open("rb") as file:

                def read(offset: int, size: int) -> bytes:
                    file.seek(self.start + offset)
                    return self._checked(file.read(size), offset, size)

                yield read
        except OSError as error:
            raise NotDicomError(f"{self.source} can't be read: {error.strerror or error}") from error

    def read(self, offset: int, size: int) -> bytes:
        """Read `size` bytes from `offset` on; raises what `reader` does."""
        with self.reader() as read:
            return read(offset, size)

    def blocks(self, size: int) -> Iterator[bytes]:
        """Yield all bytes, `size` at a time."""
        with self.reader() as read:
            for offset in range(0, self.size_bytes, size):
                yield read(offset, min(size, self.size_bytes - offset))

    def _checked(self, data: bytes, offset: int, size: int) -> bytes:
        if len(data) != size or offset + size > self.size_bytes:
            raise PixelError("The pixel data end before their last frame; the object must be sent again")
        return data


def span_of(elem: DataElement | RawDataElement | None) -> Span | None:
    """Return where an element's bytes stand, whether it carries them or only names their place."""
    value = elem.value if elem is not None else None
    if isinstance(value, Span):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return Span(bytes(value), 0, len(value))
    return None
