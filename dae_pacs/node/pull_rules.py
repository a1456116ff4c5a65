"""The pull rules of the configuration, each with its peer and its way, as threads of the node."""

from collections.abc import Callable
from urllib.parse import urlsplit

from dae_pacs.config.model import Settings
from dae_pacs.config.pulls import Pull as Rule
from dae_pacs.dimse.attendance import Attendance
from dae_pacs.dimse.getting import Receiving
from dae_pacs.dimse.reception import Store
from dae_pacs.node.peers import address_of
from dae_pacs.node.pulling import Asked, Here, Puller
from dae_pacs.node.ways import ByGet, ByMove, ByWeb, Dicom, Way
from dae_pacs.node.web_peers import service_of

OnOpen = Callable[[Callable[[], None]], None]


def pullers_of(
    settings: Settings,
    here: Here,
    *,
    store: Store,
    association_ended: Callable[[str], None],
    attendance: Attendance,
) -> list[Puller]:
    """Make a puller for each rule.

    Args:
        settings: all of them.
        here: the node.
        store: takes objects that come over associations of ours.
        association_ended: told once such an association brings no more.
        attendance: counts what they bring.

    Raises:
        ConfigError: a file that a peer's TLS or login needs can't be used.
    """

    def make(rule: Rule) -> Puller:
        def make_way(on_open: OnOpen) -> Way:
            receiving = Receiving(store, settings.node.ae_title, association_ended, on_open, attendance)
            return way_to(settings, rule.peer, rule, receiving=receiving)

        return Puller(rule, asked_of(settings, rule.peer), here, make_way)

    return [make(rule) for rule in settings.pulls]


def asked_of(settings: Settings, name: str) -> Asked:
    """Say how the audit trail names a peer of the configuration."""
    if name in settings.web_peers:
        return Asked(name, urlsplit(settings.web_peers[name].url).hostname or "")
    return Asked(settings.peers[name].ae_title, settings.peers[name].host)


def way_to(settings: Settings, name: str, rule: Rule, *, receiving: Receiving) -> Way:
    """Give the way in which a rule asks its peer.

    Raises:
        ConfigError: a file that the peer's TLS or login needs can't be used.
    """
    if name in settings.web_peers:
        service = service_of(name, settings.web_peers[name], settings.tls)
        return ByWeb(name, service, receiving)
    own = settings.node.ae_title
    dicom = Dicom(address_of(settings.peers[name], settings.tls), own, rule.character_set)
    if rule.by == "get":
        return ByGet(dicom, receiving)
    return ByMove(dicom, rule.destination or own)
