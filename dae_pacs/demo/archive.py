"""The PACS of the demo where no Orthanc can be had: a storage SCP of our own that writes into a folder."""

import hashlib
import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from dae_pacs.demo.orthanc import free_port
from dae_pacs.dimse.addresses import PeerAddress
from dae_pacs.dimse.scp import Answer, Incoming, ScpSettings, StorageSCP
from dae_pacs.dimse.statuses import SUCCESS
from dae_pacs.durable import move_into_place
from dae_pacs.errors import ServiceError


class ArrivingFile:
    """An object while it arrives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")

    def write(self, data: bytes | memoryview, /) -> None:
        """Append bytes."""
        self._file.write(data)

    def close(self) -> None:
        """Write out what is buffered."""
        self._file.close()

    def discard(self) -> None:
        """Drop the file; harmless when repeated."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class EmbeddedArchive:
    """Keeps what it is sent, one file for each SOP Instance UID; the first object under a UID stays."""

    name = "embedded archive"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = PeerAddress("ARCHIVE", "127.0.0.1", free_port())
        self._scp = StorageSCP(
            ScpSettings(ae_title=self.address.ae_title, port=self.address.port),
            open_file=self._open_file,
            keep=self._keep,
            association_ended=lambda _: None,
        )

    def start(self) -> None:
        """Make the folder and listen.

        Raises:
            ServiceError: the port was taken in the meantime.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._scp.start()

    def stop(self) -> None:
        """Stop listening."""
        self._scp.stop()

    def instances(self) -> list[str]:
        """List what is kept, under names of the archive's own."""
        return sorted(path.stem for path in self.folder.glob("*.dcm"))

    def file(self, instance: str) -> bytes:
        """Return one object as a Part 10 file."""
        return (self.folder / f"{instance}.dcm").read_bytes()

    def _open_file(self) -> ArrivingFile:
        return ArrivingFile(self.folder / f"{secrets.token_hex(8)}.part")

    def _keep(self, incoming: Incoming) -> Answer:
        file = incoming.file
        if not isinstance(file, ArrivingFile):
            raise ServiceError(f"The archive was handed a {type(file).__name__}, not the file that it opened")
        file.close()
        name = hashlib.sha256(incoming.SOPInstanceUID.encode()).hexdigest()[:32]
        target = self.folder / f"{name}.dcm"
        if target.exists():
            file.discard()
        else:
            move_into_place(file.path, target)
        return Answer(SUCCESS)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
