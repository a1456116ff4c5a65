"""What must hold between the settings of TLS: what goes with what, over raw values, as in `crosscheck`."""

from collections.abc import Iterator, Mapping

from pydantic_core import PydanticCustomError

from dae_pacs.config.fields import fault

Found = tuple[tuple[str | int, ...], object, PydanticCustomError]

DEFAULT_PORT = 11112
"""`node.port`, where nothing else is said."""
_OF_TLS = ("tls_trust", "tls_name", "tls_fingerprint")


def problems(
    tls: Mapping[str, object], peers: Mapping[str, Mapping[str, object]], node: Mapping[str, object]
) -> Iterator[Found]:
    """Find settings that lack, or contradict, another.

    Args:
        tls: the table of that name.
        peers: the tables of peers.
        node: the table of that name.
    """
    yield from _own(tls)
    port = tls.get("port")
    if port and tls.get("also_plain") and port == node.get("port", DEFAULT_PORT):
        yield ("tls", "port"), port, fault("is node.port, too", "give one of them another number")
    for name, peer in peers.items():
        yield from _peer(name, peer, has_trust=tls.get("trust") is not None)


def _own(tls: Mapping[str, object]) -> Iterator[Found]:
    has_port = tls.get("port") is not None
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if tls.get(one) is not None and tls.get(other) is None:
            wrong = f"comes without tls.{other}"
            yield ("tls", one), tls[one], fault(wrong, f"give tls.{other}, too")
    if has_port and tls.get("certificate") is None:
        right = "give tls.certificate and tls.key, which a listener with TLS must have"
        yield ("tls", "port"), tls["port"], fault("comes without a certificate", right)
    if has_port and tls.get("trust") is None and tls.get("clients", "certificate") == "certificate":
        right = "give tls.trust, so that callers can be verified"
        yield ("tls", "port"), tls["port"], fault("comes without tls.trust", right)
    if not has_port and tls.get("also_plain"):
        wrong = "goes with tls.port, which is not given"
        yield ("tls", "also_plain"), True, fault(wrong, "drop it: without tls.port, node.port is open")


def _peer(name: str, peer: Mapping[str, object], *, has_trust: bool) -> Iterator[Found]:
    given = [key for key in _OF_TLS if peer.get(key) is not None]
    if not peer.get("tls"):
        for key in given:
            yield (
                ("peers", name, key),
                peer[key],
                fault("goes with tls = true, which is not given", "write tls = true, or drop it"),
            )
        return
    if "tls_fingerprint" in given and len(given) > 1:
        wrong = "goes alone: neither signer nor name are asked for beside it"
        yield ("peers", name, "tls_fingerprint"), peer["tls_fingerprint"], fault(wrong, "drop one of them")
    if not has_trust and not {"tls_trust", "tls_fingerprint"} & set(given):
        right = "give tls_trust or tls_fingerprint there, or tls.trust for all"
        yield ("peers", name, "tls"), True, fault("leaves open by what the peer is verified", right)
