"""Log-in by a site's identity provider: OpenID Connect, authorization code with PKCE (RFC 7636, RFC 9700)."""

import base64
import hashlib
import logging
import secrets
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dae_pacs.config.web import OidcSettings
from dae_pacs.errors import InputError, ServiceError
from dae_pacs.web.role import Role

logger = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
METADATA_S: Final = 3600.0
"""How long the provider's description and keys are believed; unknown keys are looked for sooner."""
PENDING_S: Final = 600.0
"""From our page to the provider and back."""
MOST_PENDING: Final = 1000
MOST_PENDING_OF_ONE: Final = 20
"""From one address, so that a stranger's beginnings push out only their own."""
SILENCE_S: Final = 10.0
"""After a failure, the provider is left alone for so long: each try may hold a thread until it times out."""
LEEWAY_S: Final = 60
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key of the provider; none, and none by a shared secret."""


_DOES_NOT_HOLD: Final = (
    "The provider's word does not hold: wrong signature, audience, issuer or time. If it happens again, "
    "check [oidc] and the clocks of both machines."
)


_UNUSABLE: Final = (
    "Log-in by the identity provider does not work: this node is not set up rightly for it. Its log says "
    "why. Try again later, or log in with an account of this node."
)


@dataclass(frozen=True)
class _Pending:
    """Somebody on the way to the provider."""

    verifier: str
    nonce: str
    target: str
    address: str
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
        self._asking = threading.Lock()
        self._failed: tuple[str, float] = ("", 0.0)
        """Why the provider could not be asked, and until when it is not asked again."""
        self._quiet_until = 0.0
        """The log is not told again before, since a stranger may try as often as they like."""

    def begin(self, target: str, *, address: str = "") -> tuple[str, str]:
        """Give the address to send somebody to, and the state that comes back with them.

        Args:
            target: where they want to go.
            address: whence they come.

        Raises:
            ServiceError: the provider does not answer, or not as one, or [oidc] can't be used. Its words, as
                all that this class raises, may be shown to a stranger.
        """
        metadata, _ = self._description()
        state = secrets.token_urlsafe(32)
        pending = _Pending(
            secrets.token_urlsafe(48),
            secrets.token_urlsafe(32),
            target,
            address,
            time.monotonic() + PENDING_S,
        )
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": pending.nonce,
            "code_challenge": _challenge(pending.verifier),
            "code_challenge_method": "S256",
        }
        url = httpx.URL(str(metadata["authorization_endpoint"])).copy_merge_params(asked)
        with self._lock:
            own = [key for key, one in self._pending.items() if one.address == address]
            for key in own[: max(0, len(own) + 1 - MOST_PENDING_OF_ONE)]:
                del self._pending[key]
            self._pending[state] = pending
            while len(self._pending) > MOST_PENDING:
                self._pending.popitem(last=False)
        return str(url), state

    def expects(self, state: str) -> bool:
        """Tell whether somebody with that state is on the way."""
        with self._lock:
            pending = self._pending.get(state)
        return pending is not None and pending.until >= time.monotonic()

    def finish(self, *, state: str, code: str) -> Known:
        """Turn the code that came back into a name and a role; each state serves once.

        Raises:
            InputError: nobody with that state is on the way, or the provider's word does not hold, or it
                gives no role.
            ServiceError: the provider does not answer, or not as one, or [oidc] can't be used.
        """
        with self._lock:
            pending = self._pending.pop(state, None)
        if pending is None or pending.until < time.monotonic():
            raise InputError("This log-in was begun too long ago, or elsewhere. Begin again.")
        metadata, _ = self._description()
        claims = self._claims(self._token(str(metadata["token_endpoint"]), code, pending), pending)
        return Known(self._name(claims), self._role(claims), pending.target)

    def _token(self, endpoint: str, code: str, pending: _Pending) -> str:
        """Change the code for an ID token, straight with the provider (RFC 6749 4.1.3)."""
        said = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._settings.client_id,
            "code_verifier": pending.verifier,
        }
        secret = self._secret()
        # Both are form-encoded before they are put together (RFC 6749 2.3.1).
        auth = (quote_plus(self._settings.client_id), quote_plus(secret)) if secret else None
        try:
            with httpx.Client(verify=self._trust(), timeout=TIMEOUT_S) as client:
                answer = client.post(endpoint, data=said, auth=auth or httpx.USE_CLIENT_DEFAULT)
            if answer.status_code in {400, 401, 403}:
                raise InputError("The provider did not take the log-in. Begin again.")
            return str(answer.raise_for_status().json()["id_token"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise self._silent(error) from error

    def _claims(self, token: str, pending: _Pending) -> Mapping[str, Any]:
        """Check an ID token (OpenID Connect Core 3.1.3.7), and give what it says."""
        metadata, keys = self._description()
        try:
            try:
                signed = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            except (JoseError, ValueError):  # perhaps by a key that is newer than what we know of them
                self._described = None
                _, keys = self._description()
                signed = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            client = self._settings.client_id
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_S,
                iss={"essential": True, "value": str(metadata["issuer"])},
                aud={"essential": True, "value": client},
                sub={"essential": True},
                iat={"essential": True},
                exp={"essential": True},
                nonce={"essential": True, "value": pending.nonce},
            ).validate(signed.claims)
        except (JoseError, ValueError) as error:
            raise InputError(_DOES_NOT_HOLD) from error
        claims: Mapping[str, Any] = signed.claims
        is_for_others = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if is_for_others else client) != client:
            raise InputError(_DOES_NOT_HOLD)
        return claims

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
        why, until = self._failed
        if time.monotonic() < until:
            raise ServiceError(why)
        if not self._asking.acquire(blocking=False):
            if described is not None:  # an old one will do while somebody asks for the new one
                return described[0], described[1]
            raise ServiceError(
                "The identity provider is being asked already, and has not answered. Try again in a moment."
            )
        try:
            self._described = self._asked_for_description()
        except ServiceError as error:
            self._failed = (str(error), time.monotonic() + SILENCE_S)
            raise
        finally:
            self._asking.release()
        return self._described[0], self._described[1]

    def _asked_for_description(self) -> tuple[Mapping[str, Any], KeySet, float]:
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
        return metadata, keys, time.monotonic() + METADATA_S

    def _secret(self) -> str | None:
        path = self._settings.client_secret_file
        if path is None:
            return None
        try:
            return path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(f"oidc.client_secret_file {path}: can't be read") from error

    def _trust(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._settings.authorities)
        except OSError as error:
            why = f"oidc.authorities {self._settings.authorities}: holds no certificates that can be read"
            raise self._unusable(why) from error

    def _unusable(self, why: str) -> ServiceError:
        """Tell the log what is wrong with [oidc], and give what whoever wants to log in may know of it."""
        with self._lock:
            is_quiet = time.monotonic() < self._quiet_until
            if not is_quiet:
                self._quiet_until = time.monotonic() + SILENCE_S
        if not is_quiet:
            logger.error("nobody can log in by the identity provider", extra={"why": why})
        return ServiceError(_UNUSABLE)

    def _silent(self, error: Exception) -> ServiceError:
        return ServiceError(
            f"The identity provider {self._settings.issuer} can't be asked ({type(error).__name__}). Try "
            "again, or log in with an account of this node."
        )


def _challenge(verifier: str) -> str:
    """Give what the provider holds the verifier against (RFC 7636 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
