"""The settings of what the node fetches by itself: one table for each pull rule."""

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dae_pacs.config import moments
from dae_pacs.config.fields import AETitle, Count, Number, PeerName, Seconds, Texts, fault

_SAME = ("modality", "body_part")


def _dates(value: str) -> str:
    try:
        moments.date_range(value, date(2026, 1, 1))
    except ValueError as error:
        raise fault("names no days", str(error)) from error
    return value


def _hours(value: str) -> str:
    try:
        moments.hours_of(value)
    except ValueError as error:
        raise fault("are no hours of the day", str(error)) from error
    return value


def _time(value: str) -> str:
    try:
        moments.minutes_of(value)
    except ValueError as error:
        raise fault("is no time of the day", str(error)) from error
    return value


def _same(value: tuple[str, ...]) -> tuple[str, ...]:
    unknown = [name for name in value if name not in _SAME]
    if unknown:
        raise fault(f"has {unknown[0]!r}", f"give any of {', '.join(_SAME)}")
    return value


class Pull(BaseModel):
    """What the node fetches from a peer by itself, when, and how politely. [fetch.md](fetch.md) has examples.

    Texts may hold `*` for any characters and `?` for one; case does not matter where the node compares
    itself, which is all but `patient` and `accession`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str = Field(
        min_length=1, max_length=64, description="Its name in reports.", examples=["tonight's CT"]
    )
    peer: PeerName = Field(
        description="The peer, or one of `web_peers`, that is asked.", examples=["orthanc"]
    )
    dates: Annotated[str, AfterValidator(_dates)] | None = Field(
        default=None,
        description="Study dates: `today`, `yesterday`, `last 3 days` (today and the two before), a day such "
        "as `2026-01-05`, or two days with `..` between them.",
        examples=["last 3 days"],
    )
    patient: str = Field(default="", description="Patient ID.", examples=["4711"])
    accession: str = Field(default="", description="Accession Number.", examples=["A0001"])
    modality: Texts = Field(default=(), description="Modalities of series.", examples=[["CT", "CR"]])
    body_part: Texts = Field(default=(), description="Body Part Examined of series.", examples=[["CHEST"]])
    description: Texts = Field(
        default=(),
        description="Study Description or Series Description: one of them must match.",
        examples=[["*low dose*"]],
    )
    priors: bool = Field(
        default=False,
        description="Fetch earlier studies of the same patient for each study that somebody sends to the "
        "node. What was fetched itself calls for no priors.",
    )
    priors_most: Count = Field(
        default=3, ge=1, le=100, description="Of priors: at most so many studies, the latest first."
    )
    priors_years: Number = Field(
        default=5.0, gt=0, le=150, description="Of priors: at most so many years old."
    )
    priors_same: Annotated[Texts, AfterValidator(_same)] = Field(
        default=("modality",),
        description="Of priors: what a series must have in common with the study that arrived: `modality`, "
        "`body_part`.",
    )
    every_s: Seconds = Field(default=600.0, description="Time from one look at the peer to the next.")
    at: Annotated[str, AfterValidator(_time)] | None = Field(
        default=None,
        description="Look once a day at this time instead, by the machine's clock.",
        examples=["02:30"],
    )
    hours: Annotated[str, AfterValidator(_hours)] | None = Field(
        default=None, description="Ask the peer for anything only in these hours.", examples=["20-06"]
    )
    per_minute: Count = Field(
        default=600, ge=1, le=100000, description="Images fetched in a minute, at most, on average."
    )
    most_at_once: Count = Field(
        default=50, ge=1, le=10000, description="Series that one look adds to what is to be fetched, at most."
    )
    most_waiting: Count = Field(
        default=200,
        ge=1,
        le=100000,
        description="While so many jobs or deliveries of the node wait, nothing is fetched.",
    )
    by: Literal["move", "get", "wado"] | None = Field(
        default=None,
        description="How: `move`: the peer sends to the node's port (C-MOVE), as it is without this setting. "
        "`get`: over the association that asks (C-GET). `wado`: by QIDO-RS and WADO-RS, as from any of "
        "`web_peers`.",
        examples=["get"],
    )
    destination: AETitle | None = Field(
        default=None,
        description="With `move`: the AE title under which the peer knows this node. Without it, "
        "`node.ae_title`.",
    )
    character_set: str = Field(
        default="ISO_IR 192",
        max_length=16,
        description="Specific Character Set of queries, and so of the answers: for a peer that does not know "
        "UTF-8. Empty for none.",
        examples=["ISO_IR 100"],
    )
