"""What the console reads of the ledger, each question answered from one state of it."""

from collections.abc import Iterable
from pathlib import Path

from dae_pacs.spool import holdings, overview, pairs, search, story
from dae_pacs.spool.database import Database
from dae_pacs.spool.holdings import HeldSeries, HeldStudy, Wanted
from dae_pacs.spool.records import Instance


class Views:
    """The ledger as pages show it; for any thread, and for a process that only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def root(self) -> Path:
        """The spool's folder."""
        return self._database.root

    def overview(
        self, *, now: float, midnight: float, peers: Iterable[str], breaker_after: int
    ) -> overview.Overview:
        """Look at the ledger as the first page does; see `overview.overview`."""
        with self._database.reading() as connection:
            return overview.overview(
                connection, now=now, midnight=midnight, peers=peers, breaker_after=breaker_after
            )

    def latest(self, *, limit: int) -> tuple[search.Found, ...]:
        """List the studies that arrived last."""
        with self._database.reading() as connection:
            return search.latest(connection, limit=limit)

    def search(self, question: search.Question) -> search.Answer:
        """Find a page of studies."""
        with self._database.reading() as connection:
            return search.search(connection, question)

    def story(self, study_id: int) -> story.Story | None:
        """Tell everything about one study; None where there is none of that id."""
        with self._database.reading() as connection:
            return story.story(connection, study_id, root=self._database.root)

    def study_id_of(self, StudyInstanceUID: str) -> int | None:
        """Find the id under which the console shows a study; None where there is none of that UID."""
        with self._database.asking() as connection:
            return story.study_id_of(connection, StudyInstanceUID)

    def held_studies(self, wanted: Wanted, *, limit: int, offset: int = 0) -> list[HeldStudy]:
        """List studies that can be retrieved, the last that arrived first."""
        with self._database.reading() as connection:
            return holdings.studies(connection, wanted, limit=limit, offset=offset, root=self.root)

    def held_series(self, wanted: Wanted, *, limit: int, offset: int = 0) -> list[HeldSeries]:
        """List series that can be retrieved, in the order of their arrival."""
        with self._database.reading() as connection:
            return holdings.series(connection, wanted, limit=limit, offset=offset, root=self.root)

    def held_instances(self, wanted: Wanted, *, limit: int, offset: int = 0) -> list[Instance]:
        """List instances that can be retrieved, in the order of their arrival."""
        with self._database.reading() as connection:
            return holdings.instances(connection, wanted, limit=limit, offset=offset, root=self.root)

    def instance(self, instance_id: int) -> Instance | None:
        """Read one object's row; None where there is none."""
        with self._database.asking() as connection:
            return story.instance(connection, instance_id, root=self._database.root)

    def pairs(self, study_id: int) -> pairs.StudyPairs | None:
        """List the images of a study that are on the disk, and what was made of each; None without it."""
        with self._database.reading() as connection:
            return pairs.study_pairs(connection, study_id, root=self._database.root)

    def image_of(self, study_id: int, instance_id: int) -> Instance | None:
        """Read one object's row if it is of that study; None otherwise."""
        with self._database.asking() as connection:
            return pairs.image_of(connection, study_id, instance_id, root=self._database.root)
