"""The settings of the audit trail."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dae_pacs.config.fields import AbsolutePath, Count, fault

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535


def host_and_port(address: str) -> tuple[str, int]:
    """Take "host:port" apart; an IPv6 address stands in square brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _address(value: str) -> str:
    match = _ADDRESS.fullmatch(value)
    if match is None or not 1 <= int(match["port"]) <= _HIGHEST_PORT:
        raise fault("is no address of a syslog receiver", "give host:port, such as audit.example.org:6514")
    return value


class AuditSettings(BaseModel):
    """The audit trail: who sent, got, deleted or was refused what, in the messages of PS3.15 A.5.

    It names patients by their identifier, and is kept apart from the log. It is off unless `file` or `syslog`
    says where it goes; [audit.md](audit.md) has the whole story.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    file: AbsolutePath | None = Field(
        default=None,
        description="A file that gets one message a line, readable by its owner alone.",
        examples=["audit/audit.xml"],
    )
    file_mb: Count = Field(
        default=10,
        ge=1,
        le=1000,
        description="The file is rotated before it grows beyond this, in units of 10^6 bytes.",
    )
    files_kept: Count = Field(
        default=100, ge=1, le=10000, description="Rotated files that are kept; then the oldest is deleted."
    )
    syslog: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None,
        description="host:port of a syslog receiver (RFC 5424); 6514 is the port of syslog over TLS.",
        examples=["audit.example.org:6514"],
    )
    syslog_transport: Literal["tls", "tcp", "udp"] = Field(
        default="tls",
        description="`tls`: RFC 5425, with the receiver's certificate and name verified, always. `tcp` and "
        "`udp` carry patients' identifiers in plain text: for a receiver on this machine alone.",
    )
    syslog_authorities: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the authorities that may have signed the receiver's certificate; without "
        "it, those that the system trusts.",
    )
    syslog_certificate: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the node's own certificate, for receivers that ask for one.",
    )
    syslog_key: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the certificate's key; without it, it is looked for beside the certificate.",
    )
    source: str = Field(
        default="",
        max_length=64,
        description="AuditSourceID of the messages; without it, the node's AE title.",
    )
    site: str = Field(
        default="", max_length=64, description="AuditEnterpriseSiteID of the messages: the hospital's name."
    )
    queue_messages: Count = Field(
        default=20000,
        ge=1,
        le=1000000,
        description="Messages that wait in the spool, for each of both targets, while it can't be written.",
    )

    @property
    def is_on(self) -> bool:
        """Tell whether there is an audit trail at all."""
        return self.file is not None or self.syslog is not None

    @property
    def tls_files(self) -> tuple[Path, ...]:
        """Give the PEM files that the settings name."""
        named = (self.syslog_authorities, self.syslog_certificate, self.syslog_key)
        return tuple(path for path in named if path is not None)
