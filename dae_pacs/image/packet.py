"""An array for a browser, with what it means in JSON before it.

"DAEF", the length of the JSON (uint32, little endian), the JSON (UTF-8, padded with blanks so that what
follows begins at a multiple of 8), and then the values, row by row, little endian.
"""

import json
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"DAEF"
MEDIA_TYPE: Final = "application/vnd.dae-pacs.frame"
_ALIGNED: Final = 8
_LENGTH = struct.Struct("<I")


def pack(meaning: dict[str, object], values: NDArray[np.generic]) -> bytes:
    """Put JSON and values into one body.

    Args:
        meaning: plain values; their type is added as "type", such as "u2", "i2" or "f4".
        values: any shape; not of 64 bits, but for f8, which JavaScript's numbers are.
    """
    kind = values.dtype.kind + str(values.dtype.itemsize)
    text = json.dumps({"type": kind, **meaning}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(len(MAGIC) + _LENGTH.size + len(text)) % _ALIGNED)
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return b"".join((MAGIC, _LENGTH.pack(len(text)), text, little.tobytes()))


def unpack(body: bytes) -> tuple[dict[str, object], NDArray[np.generic]]:
    """Take a body apart: what was packed, its values in one row."""
    start = len(MAGIC) + _LENGTH.size
    (length,) = _LENGTH.unpack(body[len(MAGIC) : start])
    meaning: dict[str, object] = json.loads(body[start : start + length])
    return meaning, np.frombuffer(body[start + length :], dtype=f"<{meaning['type']}")
