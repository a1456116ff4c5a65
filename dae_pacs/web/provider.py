"""Log-in by a site's identity provider: OpenID Connect, authorization code with PKCE (RFC 7636, RFC 9700)."""

import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from authlib.common.security import generate_token
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dae_pacs.config.web import OidcSettings
from dae_pacs.errors import ConfigError, InputError, ServiceError
from dae_pacs.web.role import Role

TIMEOUT_S: Final = 10.0
METADATA_S: Final = 3600.0
"""How long the provider's description and keys are believed; unknown keys are looked for sooner."""
PENDING_S: Final = 600.0
"""From our page to the provider and back."""
MOST_PENDING: Final = 1000
LEEWAY_S: Final = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key of the provider; none, and none by a shared secret."""


@dataclass(frozen=True)
class _Pending:
    """Somebody on the way to the provider."""

    verifier: str
    nonce: str
    target: str
    until: float


@dataclass(frozen=True)
class Known:
    """Whom the provider vouches for."""

    name: str
    role: Role
    target: str
    """Where they wanted to go."""


class Provider:
    """One identity provider; for any thread."""

    def __init__(self, settings: OidcSettings, *, redirect_uri: str) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._lock = threading.Lock()
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._described: tuple[Mapping[str, Any], KeySet, float] | None = None  # Any: the provider's JSON

    def begin(self, target: str) -> tuple[str, str]:
        """Give the address to send somebody to, and the state that comes back with them.

        Raises:
            ConfigError: the client's secret can't be read.
            ServiceError: the provider does not answer, or not as one.
        """
        metadata, _ = self._description()
        state, pending = (
            generate_token(43),
            _Pending(generate_token(64), generate_token(43), target, time.monotonic() + PENDING_S),
        )
        with self._client() as client:
            url, _ = client.create_authorization_url(
                str(metadata["authorization_endpoint"]),
                state=state,
                nonce=pending.nonce,
                code_verifier=pending.verifier,
            )
        with self._lock:
            self._pending[state] = pending
            while len(self._pending) > MOST_PENDING:
                self._pending.popitem(last=False)
        return str(url), state

    def finish(self, *, state: str, code: str) -> Known:
        """Turn the code that came back into a name and a role; each state serves once.

        Raises:
            ConfigError: the client's secret can't be read.
            InputError: nobody with that state is on the way, or the provider's word does not hold, or it
                gives no role.
            ServiceError: the provider does not answer, or not as one.
        """
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or pending.until < time.monotonic():
            raise InputError("This log-in was begun too long ago, or elsewhere. Begin again.")
        metadata, keys = self._description()
        try:
            with self._client() as client:
                token = client.fetch_token(
                    str(metadata["token_endpoint"]), code=code, code_verifier=pending.verifier
                )
        except OAuthError as error:
            raise InputError("The provider did not take the log-in. Begin again.") from error
        except (httpx.HTTPError, ValueError) as error:
            raise self._silent(error) from error
        claims = self._claims(token, pending, keys)
        return Known(self._name(claims), self._role(claims), pending.target)

    def _claims(self, token: Mapping[str, Any], pending: _Pending, keys: KeySet) -> Mapping[str, Any]:
        try:
            try:
                signed = jwt.decode(str(token.get("id_token", "")), keys, algorithms=list(ALGORITHMS))
            except ValueError:  # signed by a key that is newer than our knowledge of them
                self._described = None
                _, keys = self._description()
                signed = jwt.decode(str(token.get("id_token", "")), keys, algorithms=list(ALGORITHMS))
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                options={
                    "iss": {"essential": True, "value": self._settings.issuer},
                    "aud": {"essential": True, "value": self._settings.client_id},
                },
                params={
                    "nonce": pending.nonce,
                    "client_id": self._settings.client_id,
                    "access_token": token.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY_S)
        except (JoseError, ValueError) as error:
            raise InputError(
                "The provider's word does not hold: wrong signature, audience, issuer or time. If it happens "
                "again, check web.oidc and the clocks of both machines."
            ) from error
        return dict(claims)

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims.get(self._settings.name_claim) or claims["sub"]
        shown = "".join(mark for mark in str(name) if mark.isprintable())[:128]
        return f"oidc:{shown}"  # no account of ours has a colon in its name

    def _role(self, claims: Mapping[str, Any]) -> Role:
        value: object = claims
        for part in self._settings.role_claim.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        said = [value] if isinstance(value, str) else value
        given = [
            Role.of(self._settings.roles[entry])
            for entry in (said if isinstance(said, list) else [])
            if isinstance(entry, str) and entry in self._settings.roles
        ]
        if not given:
            raise InputError(
                "The provider knows you, but gives you no role here. Ask whoever looks after this node "
                "(oidc.role_claim and oidc.roles say what is needed)."
            )
        return max(given)

    def _description(self) -> tuple[Mapping[str, Any], KeySet]:
        described = self._described
        if described is not None and described[2] > time.monotonic():
            return described[0], described[1]
        address = f"{self._settings.issuer}/.well-known/openid-configuration"
        try:
            with httpx.Client(verify=self._trust(), timeout=TIMEOUT_S) as client:
                metadata = client.get(address).raise_for_status().json()
                if metadata["issuer"].rstrip("/") != self._settings.issuer:
                    raise ServiceError(
                        "The identity provider calls itself otherwise than oidc.issuer; make them equal."
                    )
                keys = KeySet.import_key_set(client.get(metadata["jwks_uri"]).raise_for_status().json())
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._silent(error) from error
        self._described = (metadata, keys, time.monotonic() + METADATA_S)
        return metadata, keys

    def _client(self) -> OAuth2Client:
        secret = self._secret()
        return OAuth2Client(
            self._settings.client_id,
            secret,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            scope=" ".join(self._settings.scopes),
            redirect_uri=self._redirect_uri,
            code_challenge_method="S256",
            verify=self._trust(),
            timeout=TIMEOUT_S,
        )

    def _secret(self) -> str | None:
        path = self._settings.client_secret_file
        if path is None:
            return None
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"oidc.client_secret_file {path}: can't be read.") from error

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._settings.authorities)
        except OSError as error:
            raise ConfigError(
                f"oidc.authorities {self._settings.authorities}: holds no certificates that can be read."
            ) from error

    def _silent(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"The identity provider {self._settings.issuer} can't be asked ({type(error).__name__}). Try "
            "again, or log in with an account of this node."
        )
