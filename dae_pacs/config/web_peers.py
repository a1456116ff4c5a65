"""The settings of DICOMweb services that the node sends to, and may fetch from."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from dae_pacs.config.fields import AbsolutePath, Count, Seconds, fault
from dae_pacs.config.security import Fingerprint

Found = tuple[tuple[str | int, ...], object, PydanticCustomError]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _url(value: str) -> str:
    right = "give the service's root, such as https://pacs.hospital/dicom-web"
    try:
        parts = urlsplit(value.strip())
        port = parts.port
    except ValueError as error:
        raise fault("is no URL", right) from error
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise fault("is no URL of a DICOMweb service", right)
    if parts.username is not None or parts.password is not None:
        raise fault("carries a user name", "give user and password_file beside it")
    if parts.query or parts.fragment:
        raise fault("has a query or a fragment", right)
    return value.strip().rstrip("/")


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise fault("is no name of an environment variable", "give a name such as PACS_PASSWORD")
    return value


Url = Annotated[str, AfterValidator(_url)]
Variable = Annotated[str, AfterValidator(_variable)]


class WebPeer(BaseModel):
    """A DICOMweb service that the node sends to by STOW-RS (PS3.18 10.5), named by rules as a peer is."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    url: Url = Field(description="The service's root.", examples=["https://pacs.hospital/dicom-web"])
    user: str | None = Field(
        default=None, min_length=1, description="The account that we log in with (HTTP Basic)."
    )
    password_file: AbsolutePath | None = Field(
        default=None, description="A file with the account's password, and nothing else."
    )
    password_env: Variable | None = Field(
        default=None, description="Or the environment variable that holds the password."
    )
    token_file: AbsolutePath | None = Field(
        default=None, description="A file with a bearer token, and nothing else, in place of an account."
    )
    token_env: Variable | None = Field(
        default=None, description="Or the environment variable that holds the token."
    )
    tls_trust: AbsolutePath | None = Field(
        default=None,
        description="Certificates of those whose signature is believed of this service, or its own "
        "certificate. Without it, `tls.trust`; without that, the system's authorities.",
    )
    tls_name: str | None = Field(
        default=None,
        min_length=1,
        description="The name that its certificate must bear. Without it, the URL's host. `any`: every "
        "certificate that is trusted will do, which is right where `tls_trust` is the service's own.",
    )
    tls_fingerprint: Fingerprint | None = Field(
        default=None,
        description="SHA-256 of its certificate: this one and no other, whoever signed it.",
    )
    connections: Count = Field(
        default=1, ge=1, le=16, description="Connections that the node opens to it at a time."
    )
    batch: Count = Field(default=20, ge=1, le=1000, description="Objects of one request, at most.")
    batch_mb: Count = Field(
        default=100,
        ge=1,
        le=1000000,
        description="Size of one request, in units of 10^6 bytes; a larger object goes alone.",
    )
    connect_timeout_s: Seconds = Field(default=10.0, description="Time for the connection and TLS.")
    answer_timeout_s: Seconds = Field(
        default=60.0,
        description="Silence of the service after which we give up, while it takes a request or answers it; "
        "then the objects are sent again.",
    )


def problems(peers: Mapping[str, Mapping[str, object]], *, others: Mapping[str, object]) -> Iterator[Found]:
    """Find settings of DICOMweb services that lack, or contradict, another.

    Args:
        peers: the tables of `web_peers`, as they were written.
        others: the tables of `peers`.
    """
    for name, peer in peers.items():
        if name in others:
            yield ("web_peers", name), name, fault("is also the name of a peer", "give it another name")
        yield from _credentials(name, peer)
        yield from _tls(name, peer)


def _credentials(name: str, peer: Mapping[str, object]) -> Iterator[Found]:
    given = [key for key in ("password_file", "password_env", "token_file", "token_env") if peer.get(key)]
    if len(given) > 1:
        key = given[1]
        yield ("web_peers", name, key), peer[key], fault(f"goes with {given[0]}", "give one of them")
    elif given and given[0].startswith("password") and not peer.get("user"):
        key = given[0]
        yield ("web_peers", name, key), peer[key], fault("comes without user", "give user, too")
    elif peer.get("user") and not (given and given[0].startswith("password")):
        wrong = "comes without a password"
        yield ("web_peers", name, "user"), peer["user"], fault(wrong, "give password_file or password_env")
    if given and _is_readable(peer.get("url")):
        wrong = "would let everyone on the network read the password or token"
        yield ("web_peers", name, "url"), peer["url"], fault(wrong, "write https://")


def _tls(name: str, peer: Mapping[str, object]) -> Iterator[Found]:
    given = [key for key in ("tls_trust", "tls_name", "tls_fingerprint") if peer.get(key) is not None]
    if str(peer.get("url", "")).startswith("http://"):
        for key in given:
            yield ("web_peers", name, key), peer[key], fault("goes with https://", "write https:// in url")
    elif "tls_fingerprint" in given and len(given) > 1:
        wrong = "goes alone: neither signer nor name are asked for beside it"
        loc = ("web_peers", name, "tls_fingerprint")
        yield loc, peer["tls_fingerprint"], fault(wrong, "drop one of them")


def _is_readable(url: object) -> bool:
    """Tell whether what is sent there goes over a network as it is."""
    try:
        parts = urlsplit(str(url))
    except ValueError:
        return False
    if parts.scheme != "http" or parts.hostname in (None, "localhost"):
        return False
    try:
        return not ipaddress.ip_address(str(parts.hostname)).is_loopback
    except ValueError:
        return True
