"""Derived UIDs: a digest of what an image was made of, so that making it twice makes the same object."""

import hashlib

# Joins the parts of a digest; it can't occur inside a UID, a hexadecimal digest or our settings text.
_SEPARATOR = b"\x1f"


def digest_uid(*parts: str) -> str:
    """Return a UID in the UUID root, from 128 bits of the parts' SHA-256 (PS3.5 section B.2).

    The number carries the bits of a UUID's version and variant too (RFC 9562, version 8, custom), so that it
    is a UUID for those who look closely.
    """
    digest = hashlib.sha256(_SEPARATOR.join(part.encode("utf-8") for part in parts)).digest()
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return f"2.25.{number}"


def derived_instance_uid(
    SOPInstanceUID: str, *, content_digest: str, model_digest: str, settings: str
) -> str:
    """Return the SOP Instance UID of one image denoised by one model with one setting.

    The content is part of the key: an archive keeps the first object that it sees under a UID.
    """
    return digest_uid("instance", SOPInstanceUID, content_digest, model_digest, settings)


def derived_series_uid(SeriesInstanceUID: str, *, model_digest: str, settings: str) -> str:
    """Return the Series Instance UID that late images of a series join too."""
    return digest_uid("series", SeriesInstanceUID, model_digest, settings)
