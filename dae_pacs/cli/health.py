"""`dae-pacs health`: is the node there, and does it do its work? For containers and scripts, without curl."""

import http.client
import json
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import typer

from dae_pacs.cli.failures import FAILED, OK
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.errors import PeerError

PATIENCE_S: Final = 8.0
"""Above the console's own for its node, so that its words arrive."""
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what is replaced
_PARTS: Final = ("receive", "compute", "deliver")


def run(*, config: Path | None) -> int:
    """Print how the node's parts are; fails where one of them is down.

    Where the console does not answer, a C-ECHO says whether the node receives, which is what counts.

    Raises:
        ConfigError: the configuration has mistakes.
    """
    settings = load(config)
    told = _readiness(settings) if settings.web.enabled and settings.web.port else None
    if told is None:
        return _by_echo(settings)
    for name in _PARTS:
        part = told[name]
        typer.echo(f"{name:<8} {part['state']:<9} {part['reason']}")
    return FAILED if told["state"] == "down" else OK


def _readiness(settings: Settings) -> Mapping[str, Any] | None:  # Any: what JSON holds
    """Ask the console for /readyz; None where it gives no such answer."""
    web = settings.web
    host = _EVERYWHERE.get(web.bind, web.bind)
    connection: http.client.HTTPConnection
    if web.certificate is None:
        connection = http.client.HTTPConnection(host, web.port, timeout=PATIENCE_S)
    else:
        connection = http.client.HTTPSConnection(
            host, web.port, timeout=PATIENCE_S, context=_trusting(web.certificate)
        )
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        told: Mapping[str, Any] = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    is_ours = answer.status in {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE} and "receive" in told
    return told if is_ours else None


def _trusting(certificate: Path) -> ssl.SSLContext:
    """Trust the console's own certificate and nothing else; by address, it need not bear a name."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _by_echo(settings: Settings) -> int:
    # Half a second of imports that a probe every few seconds need not pay.
    from dae_pacs.dimse.scu import echo  # noqa: PLC0415
    from dae_pacs.node.peers import own_address  # noqa: PLC0415

    try:
        echo(own_address(settings), calling_ae=settings.node.ae_title)
    except PeerError as error:
        typer.echo(f"receive  down      {error}")
        return FAILED
    typer.echo("receive  ready     answers C-ECHO")
    if settings.web.enabled and settings.web.port:
        typer.echo("console  down      no answer; compute and deliver are not known", err=True)
    return OK
