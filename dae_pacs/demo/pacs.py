"""The demo's PACS: a real Orthanc where there is one, else the embedded archive."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dae_pacs.demo.archive import EmbeddedArchive
from dae_pacs.demo.orthanc import NodeAddress, Orthanc, Routing, find_orthanc
from dae_pacs.dimse.addresses import PeerAddress


class ObjectStore(Protocol):
    """What can be asked of a PACS: which objects it has, and each of them."""

    def instances(self) -> list[str]:
        """List all objects under names of the PACS's own."""
        ...

    def file(self, instance: str) -> bytes:
        """Return one object as a Part 10 file."""
        ...


@dataclass(frozen=True)
class Pacs:
    """A running PACS."""

    name: str
    address: PeerAddress
    objects: ObjectStore
    routes: bool
    """It sends new series to the node by itself; otherwise the modality must."""


@contextmanager
def open_pacs(folder: Path, *, node: NodeAddress, embedded: bool = False) -> Iterator[Pacs]:
    """Run a PACS for the length of the block.

    Args:
        folder: where it keeps what it has.
        node: where Orthanc routes to.
        embedded: take the embedded archive even where Orthanc is installed.

    Raises:
        PeerError: Orthanc is there but does not come up.
        ServiceError: the embedded archive can't listen.
    """
    if find_orthanc() is not None and not embedded:
        with Orthanc(folder, node=node, routing=Routing.ORIGINALS) as orthanc:
            address = PeerAddress(orthanc.ae_title, orthanc.host, orthanc.port)
            yield Pacs("Orthanc", address, orthanc.rest, routes=True)
    else:
        with EmbeddedArchive(folder) as archive:
            yield Pacs(archive.name, archive.address, archive, routes=False)
