"""A small OpenID Connect provider on loopback: authorization code with PKCE, tokens signed with RS256.

It checks what a provider checks (redirect URI, client's secret, code, verifier), and can be told to lie.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey


class IdentityProvider:
    """Vouches for whoever `claims` says."""

    def __init__(self, client_id: str, client_secret: str, redirect_uri: str) -> None:
        self._client = f"{client_id}:{client_secret}"
        self._client_id = client_id
        self._redirect_uri = redirect_uri
        self._key = RSAKey.generate_key(2048, parameters={"kid": "first"})
        self._signing_key = self._key
        self._codes: dict[str, dict[str, str]] = {}
        self.claims: dict[str, object] = {}
        """Of the person, and whatever else takes the place of the right ones."""
        self.is_unsigned = False
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._get(self)

            def do_POST(self) -> None:
                provider._post(self)

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://localhost:{self._server.server_port}"  # another site than 127.0.0.1
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def use_another_key(self, *, told: bool) -> None:
        """Sign with another key from now on, and say so to those who ask, or not."""
        self._signing_key = RSAKey.generate_key(2048, parameters={"kid": "second"})
        if told:
            self._key = self._signing_key

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        url = urlsplit(handler.path)
        match url.path:
            case "/.well-known/openid-configuration":
                _answer(handler, self._description())
            case "/jwks":
                _answer(handler, {"keys": [self._key.as_dict(private=False)]})
            case "/authorize":
                self._authorize(handler, {key: value[0] for key, value in parse_qs(url.query).items()})
            case _:
                _answer(handler, {}, status=404)

    def _description(self) -> dict[str, object]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
        }

    def _authorize(self, handler: BaseHTTPRequestHandler, asked: dict[str, str]) -> None:
        assert asked["redirect_uri"] == self._redirect_uri
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        handler.send_response(303)
        back = urlencode({"code": code, "state": asked["state"]})
        handler.send_header("Location", f"{self._redirect_uri}?{back}")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["Content-Length"])).decode()
        said = {key: value[0] for key, value in parse_qs(body).items()}
        asked = self._codes.pop(said.get("code", ""), None)
        basic = handler.headers.get("Authorization", "").removeprefix("Basic ")
        verifier = said.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if (
            asked is None
            or unquote_plus(base64.b64decode(basic).decode()) != self._client
            or asked["code_challenge"] != challenge
        ):
            _answer(handler, {"error": "invalid_grant"}, status=400)
            return
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self._client_id,
            "sub": "4711",
            "iat": now,
            "exp": now + 300,
            "nonce": asked["nonce"],
            **self.claims,
        }
        token = self._signed(claims)
        _answer(
            handler, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": token}
        )

    def _signed(self, claims: dict[str, object]) -> str:
        if self.is_unsigned:
            parts = ({"alg": "none"}, claims)
            packed = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
            return b".".join([*packed, b""]).decode()
        return jwt.encode({"alg": "RS256", "kid": self._signing_key.kid}, claims, self._signing_key)


def _answer(handler: BaseHTTPRequestHandler, value: object, *, status: int = 200) -> None:
    body = json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
