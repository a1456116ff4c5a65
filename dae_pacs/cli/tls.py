"""`dae-pacs tls check`: who are we, whom do we trust, who answers, and until when."""

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from dae_pacs.cli.failures import FAILED, OK, say_error
from dae_pacs.cli.peers import resolve, shown
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.dimse import certificates, tls_client
from dae_pacs.dimse.certificates import Certificate
from dae_pacs.dimse.tls import server_context
from dae_pacs.errors import ConfigError, PeerError
from dae_pacs.node.peers import identity_of


def run(peer: str | None, *, config: Path | None) -> int:
    """Print certificates: ours and those that we trust, or the one that a peer shows.

    Raises:
        ConfigError: settings are wrong.
        PeerError: the peer is unknown, or shows no certificate.
    """
    settings = load(config)
    console = Console(soft_wrap=True, highlight=False)
    if peer is not None:
        return _peer(peer, settings, console)
    named = {
        "This node's certificate (tls.certificate)": settings.tls.certificate,
        "Trusted (tls.trust)": settings.tls.trust,
    } | {f"Trusted (peers.{name}.tls_trust)": each.tls_trust for name, each in settings.peers.items()}
    files = {words: path for words, path in named.items() if path is not None}
    if not files:
        console.print("No TLS: neither tls.certificate nor tls.trust is set.")
        return OK
    problems = list(_problems(settings))
    for words, path in files.items():
        console.print(f"{words}: {path}", style="bold", markup=False)
        try:
            found = certificates.read(path)
        except ConfigError as error:
            problems.append(str(error))
            continue
        for certificate in found:
            _print(certificate, console)
    for words in dict.fromkeys(problems):
        say_error(words)
    return FAILED if problems else OK


def _peer(text: str, settings: Settings, console: Console) -> int:
    """Say what certificate a peer shows, whether or not we would believe it."""
    address = resolve(text, settings)
    certificate = tls_client.shown_by(address, identity_of(settings.tls))
    console.print(f"{shown(text, address)} shows:", style="bold", markup=False)
    _print(certificate, console)
    if address.tls is None:
        console.print("It is not called over TLS as configured. Ask its administrator whether this is its")
        console.print("certificate before you set tls = true with tls_trust or tls_fingerprint.")
        return OK
    try:
        tls_client.verify(address)
    except PeerError as error:
        say_error(str(error))
        return FAILED
    console.print("It is believed, as configured.")
    return OK


def _problems(settings: Settings) -> Iterator[str]:
    tls = settings.tls
    identity = identity_of(tls)
    if identity is None:
        return
    try:
        server_context(identity, trust=tls.trust, minimum=tls.minimum)
        days = certificates.read(identity.certificate)[0].days_left()
    except ConfigError as error:
        yield str(error)
        return
    if days < 0:
        yield f"certificate file {identity.certificate}: has expired; put a new one in its place"
    elif days < tls.warn_days:
        yield f"certificate file {identity.certificate}: expires in {days:.0f} days; renew it"


def _print(certificate: Certificate, console: Console) -> None:
    for name, value in {
        "subject": certificate.subject,
        "names": ", ".join(certificate.names) or "none: goes by its common name",
        "signed by": certificate.issuer,
        "valid": f"{certificate.not_before:%Y-%m-%d} to {certificate.not_after:%Y-%m-%d}, "
        f"{certificate.days_left():.0f} days left",
        "fingerprint": certificate.fingerprint,
    }.items():
        console.print(f"  {name}: {value}", markup=False)
