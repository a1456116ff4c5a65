"""Every setting of dae-pacs: its name, its kind, its default, and what it does.

`docs/configuration.md` is generated from here.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ModelWrapValidatorHandler, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from dae_pacs.config.audit import AuditSettings
from dae_pacs.config.compute import ComputeSettings
from dae_pacs.config.crosscheck import validate_whole
from dae_pacs.config.crosscheck_tls import DEFAULT_PORT
from dae_pacs.config.fields import (
    DEFAULT_DESCRIPTION,
    AbsolutePath,
    AETitle,
    Count,
    Device,
    ModelName,
    Number,
    PeerName,
    Seconds,
    Strength,
    Template,
    Texts,
)
from dae_pacs.config.keywords import checked_keyword
from dae_pacs.config.metrics import MetricsSettings
from dae_pacs.config.pulls import Pull
from dae_pacs.config.security import Addresses, Fingerprint, Sender, TlsSettings
from dae_pacs.config.sending import DeliverySettings
from dae_pacs.config.web import OidcSettings, WebSettings
from dae_pacs.config.web_peers import WebPeer

ENV_PREFIX = "DAE_PACS_"
ENV_DELIMITER = "__"
_STRICT = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class NodeSettings(BaseModel):
    """How the node listens, keeps what it receives, and decides that a series is complete."""

    model_config = _STRICT

    ae_title: AETitle = Field(
        default="DAE_PACS", description="The node's own AE title, towards modalities and archives."
    )
    bind: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on; 0.0.0.0 is every address of the machine.",
    )
    port: Count = Field(
        default=DEFAULT_PORT,
        ge=0,
        le=65535,
        description="The TCP port to listen on; 0 lets the system choose.",
    )
    accept: Literal["peers", "anyone"] = Field(
        default="peers",
        description="Who may associate with the node. `peers`: the configured peers and senders, each under "
        "its AE title and from its addresses, and nobody else. `anyone`: whoever reaches the port, under any "
        "AE title, both ways.",
    )
    also_called: Texts = Field(
        default=(),
        description="More AE titles under which the node may be called; `*` stands for any characters.",
        examples=[["DENOISE_STAT"]],
    )
    spool: AbsolutePath = Field(
        default=Path("spool"),
        description="The folder that keeps objects and the ledger. It needs a disk that keeps its promises "
        "on fsync, and room for everything younger than `retention.keep_hours`.",
    )
    quiet_s: Seconds = Field(
        default=2.0,
        description="A series whose association is closed is complete after this much silence.",
    )
    idle_s: Seconds = Field(
        default=10.0,
        description="A series whose association stays open is complete after this much silence.",
    )
    max_associations: Count = Field(
        default=20,
        ge=1,
        le=1000,
        description="Associations served at the same time; one more is rejected for now.",
    )
    max_associations_per_address: Count = Field(
        default=10,
        ge=1,
        le=1000,
        description="Associations served at the same time for one network address, so that one sender "
        "can't take every place.",
    )
    max_pdu_bytes: Count = Field(
        default=131072,
        ge=4096,
        le=1048576,
        description="The longest PDU that the node asks its peers to send (PS3.8 D.1); a longer one ends "
        "the association.",
    )
    max_object_mb: Count = Field(
        default=16000,
        ge=1,
        le=1000000,
        description="The largest object that is taken, in units of 10^6 bytes; a larger one is refused "
        "(A700), and nothing of it is kept.",
    )
    association_timeout_s: Seconds = Field(
        default=15.0,
        description="From a connection to its whole association request; then it is closed (PS3.8 9.1.5).",
    )
    pdu_timeout_s: Seconds = Field(
        default=30.0,
        description="From a PDU's first byte to its last; then the association is aborted.",
    )
    dimse_timeout_s: Seconds = Field(
        default=30.0,
        description="Silence within one DIMSE message after which we give up, and how long a peer may take "
        "to read an answer.",
    )
    network_timeout_s: Seconds = Field(
        default=60.0, description="Silence on an association after which we abort it."
    )
    object_timeout_s: Seconds = Field(
        default=3600.0,
        description="From the first byte of an object's command to the object's last; then the association "
        "is aborted.",
    )
    minimum_free_mb: Count = Field(
        default=500,
        ge=0,
        description="With less room than this left under the spool, objects are refused as out of resources "
        "(A700), before anything is lost.",
    )
    lease_s: Seconds = Field(
        default=60.0, description="A job whose worker shows no sign of life for so long goes to another."
    )
    job_attempts: Count = Field(
        default=3, ge=1, le=100, description="Attempts at a job before it counts as failed."
    )


class ModelSettings(BaseModel):
    """The model that denoises where a rule names no other."""

    model_config = _STRICT

    name: ModelName = Field(
        default="xray_radiograph_denoising",
        description="A bundle's name, or the path of its folder (with a slash in it).",
    )
    strength: Strength | None = Field(
        default=None,
        description="How much of the noise is removed, from 0 (nothing) to 1 (all that the network sees). "
        "Without it, the bundle's own default.",
    )
    device: Device = Field(
        default="auto",
        description="Where the network runs. `auto` takes every GPU, a worker process for each, or the CPU "
        "where there is none; `cuda` every GPU; `cuda:1` that one.",
    )
    folder: AbsolutePath | None = Field(
        default=None,
        description="A folder with the site's own bundles, searched before the shipped ones; dae-pacs train "
        "puts them there. Without it: dae-pacs-models in the working folder, after the shipped ones.",
    )


class RetentionSettings(BaseModel):
    """How long objects stay in the spool. What is still owed to a destination is never removed."""

    model_config = _STRICT

    keep_hours: Number = Field(
        default=168.0,
        ge=0,
        allow_inf_nan=False,
        description="Objects older than this are removed once they are delivered.",
    )
    sweep_s: Seconds = Field(default=300.0, description="Time from one sweep to the next.")
    make_room_below_mb: Count = Field(
        default=1000,
        ge=0,
        description="With less room than this left under the spool, what was delivered (and committed, where "
        "that is asked for) goes before its time, the oldest first, until there is room. Set it above "
        "`node.minimum_free_mb`; 0 switches it off.",
    )


class LogSettings(BaseModel):
    """What is logged, and where. Logs carry no patient data."""

    model_config = _STRICT

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least level that is logged."
    )
    format: Literal["text", "json"] = Field(
        default="text", description="Lines for people, or one JSON object a line."
    )
    file: AbsolutePath | None = Field(
        default=None, description="A file, rotated at 10 MB with five kept; without it, standard error."
    )


class Peer(BaseModel):
    """A DICOM application that the node sends to, and that may send to it."""

    model_config = _STRICT

    ae_title: AETitle = Field(description="The peer's AE title.", examples=["ORTHANC"])
    host: str = Field(min_length=1, description="Its host name or address.", examples=["127.0.0.1"])
    port: Count = Field(ge=1, le=65535, description="Its TCP port.", examples=[4242])
    addresses: Addresses | None = Field(
        default=None,
        description="Where it may call from: addresses, networks such as 10.1.2.0/24, host names. Without "
        "it, its `host`; `[]` where it must not call.",
        examples=[["10.1.2.3"]],
    )
    tls: bool = Field(
        default=False,
        description="Call it over TLS, and never without. Its certificate is verified: by `tls_trust` and "
        "its name, or by `tls_fingerprint`.",
    )
    tls_trust: AbsolutePath | None = Field(
        default=None,
        description="Certificates of those whose signature is believed of this peer, or its own certificate. "
        "Without it, `tls.trust`.",
    )
    tls_name: str | None = Field(
        default=None,
        min_length=1,
        description="The name that its certificate must bear. Without it, `host`. `any`: every certificate "
        "that is trusted will do, which is right where `tls_trust` is the peer's own.",
    )
    tls_fingerprint: Fingerprint | None = Field(
        default=None,
        description="SHA-256 of its certificate, from `dae-pacs tls check`: this one and no other, whoever "
        "signed it.",
    )
    associations: Count = Field(
        default=1, ge=1, le=16, description="Associations that the node opens to it at a time."
    )
    connect_timeout_s: Seconds = Field(
        default=10.0, description="Time for the connection and its negotiation."
    )
    dimse_timeout_s: Seconds = Field(
        default=15.0, description="Time for the answer to one object; then the object is sent again."
    )
    commitment: bool = Field(
        default=False,
        description="Ask for storage commitment (PS3.4 Annex J) of all that was sent; until the peer has "
        "committed itself, what it got counts as owed, and stays in the spool.",
    )


class Rule(BaseModel):
    """What happens to the objects that meet every condition in `when`. The first rule that fits decides."""

    model_config = _STRICT

    name: str = Field(
        min_length=1, max_length=64, description="Its name in reports.", examples=["radiographs"]
    )
    when: dict[Annotated[str, AfterValidator(checked_keyword)], Texts] = Field(
        default={},
        description="Conditions, all of which must hold: a DICOM keyword, or CallingAETitle or "
        "CalledAETitle, and one pattern or a list of them, one of which must match. `*` stands for any "
        "characters, `?` for one, "
        "`[ab]` for one of these; case does not matter. An element with several values matches when one of "
        "them does; a UID matches by its number or by its name in PS3.6; a missing element matches only "
        '`""`. Without conditions the rule fits everything.',
        examples=[{"Modality": ["CR", "DX"]}],
    )
    action: Literal["denoise", "forward", "keep"] = Field(
        default="denoise",
        description="`denoise`: make and deliver a derived series. `forward`: deliver the original as it is. "
        "`keep`: keep the object in the spool and do nothing more.",
    )
    model: ModelName | None = Field(default=None, description="The model, where it is not `model.name`.")
    strength: Strength | None = Field(
        default=None, description="The strength, where it is not `model.strength`."
    )
    strengths: tuple[Strength, ...] = Field(
        default=(),
        description="More strengths, each of which makes one more derived series, to be seen side by side.",
        examples=[[0.4, 1.0]],
    )
    removed: bool = Field(
        default=False,
        description="Make one more derived series of what was removed: the original minus the denoised image "
        "at the rule's own strength. It shows whether anything but noise went; it is not for diagnosis.",
    )
    compression: Literal["uncompressed", "jpeg2000", "jpegls", "rle"] = Field(
        default="uncompressed",
        description="How derived objects are stored and sent, always without loss. A destination that does "
        "not take the compressed form gets the object uncompressed.",
    )
    destinations: Texts = Field(
        default=(),
        description="Names of peers, or of DICOMweb services, that get the result.",
        examples=[["orthanc"]],
    )
    forward_original: bool = Field(
        default=False, description="Deliver the untouched original too, also when it can't be denoised."
    )
    description: Template = Field(
        default=DEFAULT_DESCRIPTION,
        description="Series Description of the derived series: `{source}` is the original's, `{strength}` "
        "and `{model}` what made it.",
    )
    priority: Literal["STAT", "HIGH", "MEDIUM", "LOW"] = Field(
        default="MEDIUM",
        description="Which jobs go first (the words of Requested Procedure Priority, PS3.3 C.4.11).",
    )


class Settings(BaseSettings):
    """All settings: the file's, overridden by the environment's."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=ENV_DELIMITER,
    )

    node: NodeSettings = Field(default_factory=NodeSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    compute: ComputeSettings = Field(default_factory=ComputeSettings)
    delivery: DeliverySettings = Field(default_factory=DeliverySettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    audit: AuditSettings = Field(default_factory=AuditSettings)
    tls: TlsSettings = Field(default_factory=TlsSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    oidc: OidcSettings = Field(default_factory=OidcSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    peers: dict[PeerName, Peer] = Field(default={}, description="Where results go.")
    web_peers: dict[PeerName, WebPeer] = Field(
        default={}, description="DICOMweb services that results go to."
    )
    senders: dict[PeerName, Sender] = Field(default={}, description="Who else may send to the node.")
    rules: tuple[Rule, ...] = Field(default=(), description="What happens to which objects, in order.")
    pulls: tuple[Pull, ...] = Field(default=(), description="What the node fetches by itself.")

    @property
    def destinations(self) -> tuple[str, ...]:
        """The names of all that may be sent to."""
        return (*self.peers, *self.web_peers)

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:  # Any: pydantic's raw input
        return validate_whole(data, handler)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, and read nothing else."""
        return env_settings, init_settings
