"""Watch the PACS until every image that was sent has its denoised twin there."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from dae_pacs.demo.pacs import ObjectStore
from dae_pacs.errors import PeerError
from dae_pacs.image import files

POLL_S = 0.3


@dataclass
class Twin:
    """An image and what came of it, as they stand in the PACS; seconds since sending began."""

    original: Path | None = None
    denoised: Path | None = None
    received_s: float = 0.0
    denoising_s: float = 0.0
    delivered_s: float = 0.0
    SeriesInstanceUID: str = ""


@dataclass
class Watch:
    """Follows the objects of a PACS; copies of them go into a folder."""

    objects: ObjectStore
    folder: Path
    names: Mapping[str, str]
    """Which image each SOPInstanceUID that was sent belongs to."""
    twins: dict[str, Twin] = field(default_factory=dict)
    """What is there, by the name of the image."""
    started: float = field(default_factory=time.monotonic)
    _seen: set[str] = field(default_factory=set)

    def until_complete(
        self, *, timeout_s: float, still_running: Callable[[], None], seen: Callable[[int], None]
    ) -> None:
        """Wait until each image is there twice.

        Args:
            timeout_s: how long at most.
            still_running: called at each look; raises when waiting has become pointless.
            seen: told how many of the expected objects are there.

        Raises:
            PeerError: the PACS does not answer, or the time is over.
        """
        while True:
            still_running()
            self._look(time.monotonic() - self.started)
            there = self.originals + self.denoised
            seen(there)
            if there == 2 * len(self.names):
                return
            if time.monotonic() - self.started > timeout_s:
                raise PeerError(
                    f"After {timeout_s:.0f} s the PACS holds {self.originals} of {len(self.names)} images "
                    f"and {self.denoised} of {len(self.names)} denoised ones; the node's log says why"
                )
            time.sleep(POLL_S)

    @property
    def originals(self) -> int:
        """How many of the images that were sent stand in the PACS."""
        return sum(twin.original is not None for twin in self.twins.values())

    @property
    def denoised(self) -> int:
        """How many denoised images stand in the PACS."""
        return sum(twin.denoised is not None for twin in self.twins.values())

    def _look(self, now_s: float) -> None:
        for instance in self.objects.instances():
            if instance in self._seen:
                continue
            self._seen.add(instance)
            path = self.folder / f"{instance}.dcm"
            path.write_bytes(self.objects.file(instance))
            self._sort_in(files.read(path), path, now_s)

    def _sort_in(self, ds: Dataset, path: Path, now_s: float) -> None:
        own = self.names.get(str(ds.SOPInstanceUID))
        if own is not None:
            twin = self.twins.setdefault(own, Twin())
            twin.original, twin.received_s = path.replace(self.folder / f"{own}-original.dcm"), now_s
            twin.SeriesInstanceUID = str(ds.SeriesInstanceUID)
            return
        sources = [str(item.ReferencedSOPInstanceUID) for item in ds.get("SourceImageSequence", [])]
        for name in {self.names[uid] for uid in sources if uid in self.names}:
            twin = self.twins.setdefault(name, Twin())
            twin.denoised, twin.delivered_s = path.replace(self.folder / f"{name}-denoised.dcm"), now_s
