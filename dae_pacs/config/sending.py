"""Settings of the sending side that are of one kind: when a destination counts as failing, and commitment."""

from pydantic import BaseModel, ConfigDict, Field

from dae_pacs.config.fields import Count, Seconds


class DeliverySettings(BaseModel):
    """How results and forwarded originals are delivered, to whichever peer."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    breaker_after: Count = Field(
        default=5,
        ge=1,
        le=1000,
        description="After so many failures in a row a peer is left alone for a while, which grows to five "
        "minutes, and then tried with one object.",
    )
    commitment_batch: Count = Field(
        default=200,
        ge=1,
        le=1000,
        description="Objects of one storage commitment request, at most.",
    )
    commitment_wait_s: Seconds = Field(
        default=5.0,
        description="How long the report is awaited on the association of the request; a peer may also send "
        "it later, on an association of its own.",
    )
    commitment_report_s: Seconds = Field(
        default=3600.0,
        description="Without a report for so long, the commitment is asked for again.",
    )
