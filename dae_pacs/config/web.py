"""The settings of the console, and of everything else that the node says over HTTP."""

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dae_pacs.config.fields import AbsolutePath, Count, Number, Seconds, Texts, fault
from dae_pacs.config.security import Addresses

_STRICT = ConfigDict(frozen=True, extra="forbid", validate_default=True)

WEB_PORT = 8104
"""Free in IANA's registry, and one beside 104, DICOM's own."""
_URL = re.compile(r"https?://[A-Za-z0-9_.\[\]:-]+/?")
_ISSUER = re.compile(r"https?://[^\s?#/@]+(/[^\s?#]*)?")

RoleName = Literal["viewer", "operator", "administrator"]


def is_loopback(address: str) -> bool:
    """Tell whether an address to listen on can be reached from this machine alone."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _url(value: str) -> str:
    if not _URL.fullmatch(value):
        raise fault("is no address of a console", "give scheme and host, such as https://denoise.hospital")
    return value.rstrip("/")


def _issuer(value: str) -> str:
    if not _ISSUER.fullmatch(value):
        raise fault("is no issuer", "give its address, such as https://login.hospital/realms/main")
    return value.rstrip("/")


class OidcSettings(BaseModel):
    """Log-in by the site's own identity provider (OpenID Connect, authorization code with PKCE)."""

    model_config = _STRICT

    issuer: Annotated[str, AfterValidator(_issuer)] | None = Field(
        default=None,
        description="The provider's address, below which /.well-known/openid-configuration lies. Without "
        "it, there is no log-in by a provider.",
        examples=["https://login.hospital/realms/main"],
    )
    client_id: str = Field(default="", description="The name that the provider knows the console by.")
    client_secret_file: AbsolutePath | None = Field(
        default=None,
        description="A file with the client's secret and nothing else; without it, the console is a public "
        "client, which PKCE makes safe.",
    )
    scopes: Texts = Field(default=("openid", "profile"), description="What is asked of the provider.")
    name_claim: str = Field(
        default="preferred_username",
        min_length=1,
        description="The claim of the ID token that names the person; `sub` where it is missing.",
    )
    role_claim: str = Field(
        default="groups",
        min_length=1,
        description="The claim that says who may do what: a text, or a list. Dots lead into objects, as in "
        "realm_access.roles.",
    )
    roles: dict[str, RoleName] = Field(
        default={},
        description="Which value of that claim gives which role; the highest counts. Who has none of them "
        "does not get in.",
        examples=[{"radiology-physics": "operator"}],
    )
    authorities: AbsolutePath | None = Field(
        default=None,
        description="PEM file of the authorities that may have signed the provider's certificate; without "
        "it, those that the system trusts.",
    )
    label: str = Field(
        default="Log in with your hospital account", min_length=1, max_length=80, description="The button."
    )


class WebSettings(BaseModel):
    """The console, `/metrics`, health checks and DICOMweb: one process beside the node, one port."""

    model_config = _STRICT

    enabled: bool = Field(default=True, description="Whether there is a console at all.")
    bind: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address to listen on. Any other than this machine's own (127.0.0.1, ::1) needs "
        "`certificate` and `key`.",
    )
    port: Count = Field(
        default=WEB_PORT,
        ge=0,
        le=65535,
        description="The TCP port; 0 lets the system choose, and the log says which.",
    )
    certificate: AbsolutePath | None = Field(
        default=None, description="Its certificate (PEM), followed by those between it and its root."
    )
    key: AbsolutePath | None = Field(
        default=None, description="The certificate's private key, in a file that other users can't read."
    )
    key_password_file: AbsolutePath | None = Field(
        default=None, description="A file with the password of an encrypted key, and nothing else."
    )
    url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None,
        description="What people type to get here, where that is another than `bind` and `port`: behind a "
        "reverse proxy, or for log-in by a provider.",
        examples=["https://denoise.hospital"],
    )
    hosts: Texts = Field(
        default=(),
        description="More names and addresses under which the console may be asked for; requests for any "
        "other host are refused.",
        examples=[["denoise.hospital", "10.1.2.3"]],
    )
    proxies: Addresses = Field(
        default=(),
        description="Addresses of reverse proxies, whose word on the caller's address (X-Forwarded-For) is "
        "believed.",
        examples=[["127.0.0.1"]],
    )
    idle_minutes: Number = Field(
        default=30.0, gt=0, allow_inf_nan=False, description="A session ends after this long without a click."
    )
    session_hours: Number = Field(
        default=12.0, gt=0, allow_inf_nan=False, description="A session ends after this long in any case."
    )
    max_connections: Count = Field(
        default=200, ge=1, le=10000, description="Connections at a time; one more waits, or is refused."
    )
    request_timeout_s: Seconds = Field(
        default=20.0,
        description="From a request's first byte to the end of its headers, and the longest silence within "
        "its body or in the taking of its answer; then the connection is closed.",
    )

    @property
    def is_secure(self) -> bool:
        """Tell whether browsers reach the console over TLS, its own or a reverse proxy's."""
        return self.certificate is not None or (self.url or "").startswith("https://")
