"""Settings of where the network runs: in the node's own worker process, or on a Ray cluster."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from dae_pacs.config.fields import AbsolutePath, Count, Number, fault


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
        raise fault("is no address of a cluster", 'give host and port of its head, such as "10.1.2.3:6379"')
    return value


def _namespace(value: str) -> str:
    if not value or not all(
        character.isascii() and (character.isalnum() or character in "-_") for character in value
    ):
        raise fault("is no name", "give letters, digits, - and _, such as dae-pacs")
    return value


class ComputeSettings(BaseModel):
    """Where the network runs: in a worker process of the node, or on a Ray cluster (docs/cluster.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    engine: Literal["local", "ray"] = Field(
        default="local",
        description="`local`: a worker process on this machine. `ray`: workers of the Ray cluster at "
        "`address`; it needs `pip install 'dae-pacs[cluster]'`, here and there.",
    )
    address: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        description="Host and port of the cluster's head. This machine must have joined the cluster, by "
        "`ray start --address=... --num-cpus=0`.",
        examples=["10.1.2.3:6379"],
    )
    token: AbsolutePath | None = Field(
        default=None,
        description="The file with the cluster's token (Ray's token authentication). Without it, Ray's own "
        "place: `~/.ray/auth_token`.",
    )
    namespace: Annotated[str, AfterValidator(_namespace)] = Field(
        default="dae-pacs",
        description="Nodes that name the same one share the cluster's workers.",
    )
    worker_cpus: Number = Field(
        default=1.0, gt=0, le=1024, allow_inf_nan=False, description="Cores of one worker on the cluster."
    )
    worker_gpus: Number = Field(
        default=0.0,
        ge=0,
        le=8,
        allow_inf_nan=False,
        description="GPUs of one worker on the cluster: 0, a whole number, or a share such as 0.5.",
    )
    series: Count = Field(
        default=4,
        ge=1,
        le=64,
        description="Series that are worked on at a time with a cluster, each by a process of its own on "
        "this machine, which decodes, encodes and waits.",
    )
    in_flight_mb: Count = Field(
        default=256,
        ge=16,
        le=65536,
        description="What one of these processes may have under way at a time, in units of 10^6 bytes: "
        "pixels sent and awaited. A cluster that is slow makes it wait.",
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.engine == "ray" and self.address is None:
            raise fault("names the engine ray, but no cluster", 'add address = "HOST:PORT" of its head')
        return self
