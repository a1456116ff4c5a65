"""A model bundle on its way to a worker: its bytes as data, checked there as everywhere. Costs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dae_pacs.denoise.manifest import (
    MANIFEST,
    MAX_JSON_BYTES,
    METADATA,
    entries_of,
    identity_of,
    parse_json,
    read_file,
    read_listed,
)
from dae_pacs.denoise.protocol import ModelIdentity
from dae_pacs.errors import BundleError


@dataclass(frozen=True)
class Parcel:
    """Every file that a bundle's manifest lists, and the manifest."""

    identity: ModelIdentity
    files: Mapping[str, bytes] = field(repr=False)

    def read(self, name: str, most_bytes: int) -> bytes:
        """Give the bytes of a file, as `denoise.manifest.Read` asks.

        Raises:
            BundleError: there is no such file, or it is too large.
        """
        content = self.files.get(name)
        if content is None or len(content) > most_bytes:
            found = "is missing" if content is None else f"has {len(content)} bytes"
            raise BundleError(
                f"Bundle {self.identity.name}: {name} {found}; expected at most {most_bytes} bytes. "
                "Send the bundle again."
            )
        return content


def parcel_of(folder: Path) -> Parcel:
    """Pack a bundle.

    Raises:
        BundleError: a file is missing or not what the manifest says; what the files mean is checked where
            they are used.
    """

    def read(name: str, most_bytes: int) -> bytes:
        return read_file(folder, name, most_bytes)

    entries = entries_of(read)
    name = folder.resolve().name
    files = {each: read_listed(name, each, entry, read) for each, entry in entries.items()}
    if METADATA not in files:
        raise BundleError(f"Bundle {name}: {MANIFEST} does not list {METADATA}. Fetch the bundle again.")
    identity = identity_of(name, entries, parse_json(files[METADATA], METADATA))
    return Parcel(identity, {MANIFEST: read(MANIFEST, MAX_JSON_BYTES), **files})
