"""TLS of the console: as that of DICOM, with files that may be replaced while it runs."""

import ssl

from dae_pacs.config.web import WebSettings
from dae_pacs.dimse.tls import Identity, Reloading, server_context
from dae_pacs.errors import ConfigError


def tls_of(web: WebSettings) -> ssl.SSLContext | None:
    """Make the listener's context; each handshake gets the certificate that is there by then.

    Raises:
        ConfigError: a file can't be used.
    """
    if web.certificate is None or web.key is None:
        return None
    identity = Identity(web.certificate, web.key, web.key_password_file)

    def make() -> ssl.SSLContext:
        try:
            context = server_context(identity, trust=None)
        except ConfigError as error:
            raise ConfigError(str(error).replace("tls.key", "web.key")) from error
        context.set_alpn_protocols(["http/1.1"])
        return context

    current = Reloading(identity.files, make)
    context = make()

    def renew(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = current.get()

    context.sni_callback = renew
    return context
