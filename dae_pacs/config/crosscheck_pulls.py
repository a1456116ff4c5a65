"""What must hold between pull rules and the rest: they name peers, differ in name, and look for something."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from pydantic_core import PydanticCustomError

from dae_pacs.config.fields import fault

Found = tuple[tuple[str | int, ...], object, PydanticCustomError]

_FILTERS = ("dates", "patient", "accession", "priors")


def problems(
    pulls: Sequence[Mapping[str, object]],
    peers: Collection[str],
    web_peers: Collection[str],
    *,
    propose: Callable[[str, Sequence[str]], str],
) -> Iterator[Found]:
    """Find what is wrong.

    Args:
        pulls: their raw tables.
        peers: the names of peers.
        web_peers: the names of DICOMweb services.
        propose: says what would be right in place of a name that is no peer's.
    """
    seen: dict[object, int] = {}
    for index, pull in enumerate(pulls):
        name = pull.get("name")
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            words = fault(f"is also the name of pulls[{seen[name]}]", "give each pull rule a name of its own")
            yield ("pulls", index, "name"), name, words
        yield from _way(index, pull, peers, web_peers, propose=propose)
        if not any(pull.get(wanted) for wanted in _FILTERS):
            right = 'give dates, such as "last 3 days", patient, accession or priors = true'
            yield ("pulls", index), pull.get("name"), fault("would fetch the whole archive", right)
        if pull.get("priors") and (pull.get("dates") or pull.get("patient") or pull.get("accession")):
            right = "leave dates, patient and accession out: the arriving study gives them"
            yield ("pulls", index, "priors"), True, fault("looks for something else besides", right)


def _way(
    index: int,
    pull: Mapping[str, object],
    peers: Collection[str],
    web_peers: Collection[str],
    *,
    propose: Callable[[str, Sequence[str]], str],
) -> Iterator[Found]:
    """Check that the peer is there, and can be asked in the way that is given."""
    peer, by = pull.get("peer"), pull.get("by")
    if not isinstance(peer, str):
        return
    if peer in web_peers and by in {"move", "get"}:
        words = fault("is not how a DICOMweb service is asked", 'drop it, or write by = "wado"')
        yield ("pulls", index, "by"), by, words
    elif peer in peers and by == "wado":
        right = f"add a table [web_peers.NAME] with the url of {peer}, and name it"
        yield ("pulls", index, "by"), by, fault("asks over the web, but the peer is none of web_peers", right)
    elif peer not in peers and peer not in web_peers:
        right = propose(peer, [*peers, *web_peers])
        yield ("pulls", index, "peer"), peer, fault("is not the name of a peer", right)
