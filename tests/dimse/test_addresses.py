import pytest

from dae_pacs.dimse.addresses import PeerAddress, check_ae_title, parse_peer
from dae_pacs.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("ORTHANC@127.0.0.1:4242", PeerAddress("ORTHANC", "127.0.0.1", 4242)),
        (" PACS ONE@pacs.clinic.example:104 ", PeerAddress("PACS ONE", "pacs.clinic.example", 104)),
        ("A@[::1]:11112", PeerAddress("A", "::1", 11112)),
    ],
)
def test_peer_is_read_from_ae_host_and_port(text: str, peer: PeerAddress) -> None:
    assert parse_peer(text) == peer
    assert parse_peer(str(peer)) == peer


@pytest.mark.parametrize(
    "text", ["", "ORTHANC", "ORTHANC@host", "@host:104", "A@host:0", "A@host:65536", "A@host:x", "A@::1:104"]
)
def test_what_is_no_peer_is_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected|port"):
        parse_peer(text)


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN_LETTERS", "BACK\\SLASH", "TÜR", "TAB\t"])
def test_ae_title_outside_its_vr_is_refused(title: str) -> None:
    with pytest.raises(ConfigError, match="AE title"):
        check_ae_title(title)


def test_ae_title_loses_its_padding() -> None:
    assert check_ae_title(" DAE PACS       ") == "DAE PACS"
