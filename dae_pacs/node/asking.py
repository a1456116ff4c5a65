"""What the console may ask of the node: one frozen dataclass a request, naming the type of its answer.

Requests and answers are plain values: they cross a pipe. `node.answers` says who answers which.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, TypeVar

from dae_pacs.audit.events import Person
from dae_pacs.node.figures import NodeFigures
from dae_pacs.spool.records import Retried

Answer_co = TypeVar("Answer_co", covariant=True)


class Request(Protocol[Answer_co]):
    """Anything with the type of its answer; requests are frozen dataclasses that pickle."""

    @property
    def answer(self) -> type[Answer_co]:
        """What the node answers with."""
        ...


@dataclass(frozen=True)
class Retry:
    """Requeue failed jobs and given-up deliveries, of one study or (None) of all."""

    study: str | None
    person: Person
    answer: ClassVar = Retried


@dataclass(frozen=True)
class About:
    """What the node is."""

    ae_title: str
    port: int
    """The DICOM port that it listens on."""
    version: str
    started_at: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class WhoAreYou:
    """Ask what the node is; also a sign of life."""

    answer: ClassVar = About


@dataclass(frozen=True)
class Listening:
    """Tell the node where the console is reached."""

    url: str
    answer: ClassVar = bool


@dataclass(frozen=True)
class Figures:
    """Ask for the node in numbers, for metrics and health."""

    answer: ClassVar = NodeFigures


@dataclass(frozen=True)
class ConsoleEnded:
    """What the desk says to itself when the console's end of a pipe is gone."""

    answer: ClassVar = bool


@dataclass(frozen=True)
class Authenticated:
    """Have a log-in, a log-out or a failed log-in written into the audit trail."""

    person: Person
    kind: Literal["login", "logout"]
    failure: str = ""
    """Why it failed, in few different words; empty where it did not."""
    answer: ClassVar = bool


@dataclass(frozen=True)
class AccountsChanged:
    """Have a change of accounts written into the audit trail."""

    person: Person
    what: str
    """In words of ours, with the names of accounts."""
    are_roles: bool = False
    """Somebody may do more or less than before."""
    answer: ClassVar = bool
