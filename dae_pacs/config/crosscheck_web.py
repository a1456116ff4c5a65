"""What must hold between the settings of the console, over raw values, as in `crosscheck`."""

from collections.abc import Iterator, Mapping

from pydantic_core import PydanticCustomError

from dae_pacs.config.fields import fault
from dae_pacs.config.web import is_loopback

Found = tuple[tuple[str | int, ...], object, PydanticCustomError]


def problems(web: Mapping[str, object], oidc: Mapping[str, object]) -> Iterator[Found]:
    """Find settings that lack, or contradict, another.

    Args:
        web: the table of that name.
        oidc: the table of that name.
    """
    for one, other in (("certificate", "key"), ("key", "certificate"), ("key_password_file", "key")):
        if web.get(one) is not None and web.get(other) is None:
            yield ("web", one), web[one], fault(f"comes without web.{other}", f"give web.{other}, too")
    bind = web.get("bind")
    if (
        isinstance(bind, str)
        and web.get("enabled", True) not in (False, "false", "0")
        and not is_loopback(bind)
        and web.get("certificate") is None
    ):
        right = (
            "give web.certificate and web.key, or listen on 127.0.0.1 behind a reverse proxy: names and "
            "pictures of patients never cross a network in plain text"
        )
        yield ("web", "bind"), bind, fault("is reached by other machines, but without TLS", right)
    yield from _oidc(oidc, url=web.get("url"))


def _oidc(oidc: Mapping[str, object], *, url: object) -> Iterator[Found]:
    issuer = oidc.get("issuer")
    if issuer is None:
        return
    if not oidc.get("client_id"):
        right = "give oidc.client_id, the name that the provider knows the console by"
        yield ("oidc", "issuer"), issuer, fault("comes without oidc.client_id", right)
    if not oidc.get("roles"):
        right = "give oidc.roles, which says who may do what; without it nobody gets in"
        yield ("oidc", "issuer"), issuer, fault("comes without oidc.roles", right)
    if not url:
        right = "give web.url, the address that the provider sends people back to"
        yield ("oidc", "issuer"), issuer, fault("comes without web.url", right)
    if isinstance(issuer, str) and issuer.startswith("http://"):
        host = issuer.removeprefix("http://").split("/")[0].rsplit(":", 1)[0]
        if not is_loopback(host.strip("[]")):
            right = "give an address with https; plain http is taken on this machine alone"
            yield ("oidc", "issuer"), issuer, fault("is reached without TLS", right)
