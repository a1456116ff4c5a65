import re
import socket
from datetime import datetime

import pytest

from dae_pacs.audit.syslog import Syslog, TlsFiles


def over_tls(port: int, files: TlsFiles, host: str = "127.0.0.1") -> Syslog:
    return Syslog(host, port, transport="tls", tls=files)


HEADER = re.compile(
    rb"<85>1 (?P<time>\S+) (?P<host>[!-~]+) dae-pacs (?P<process>\d+) DICOM\+RFC3881 - (?P<msg>.*)", re.DOTALL
)


def test_messages_arrive_over_tls_in_the_form_of_rfc_5424(certificates, receivers, entry) -> None:
    made = certificates("127.0.0.1")
    receiver = receivers(made)
    syslog = over_tls(receiver.port, TlsFiles(made.authority))
    syslog.deliver([entry(1), entry(2)])
    syslog.deliver([entry(3)])
    messages = receiver.wait_for(3)
    syslog.close()
    matches = [HEADER.fullmatch(message) for message in messages]
    assert all(matches)
    head = matches[0]
    assert head
    assert datetime.fromisoformat(head["time"].decode()).timestamp() == pytest.approx(1.7e9, abs=0.01)
    # PS3.15 A.6: XML in UTF-8; RFC 5424 6.4: a BOM says that it is.
    assert head["msg"] == b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?>' + entry(1).xml


@pytest.mark.parametrize(
    ("name", "trusts"),
    [("127.0.0.1", "another authority"), ("other.example.org", "it"), ("127.0.0.1", "the system")],
)
def test_a_receiver_that_can_t_be_verified_gets_nothing(
    certificates, receivers, entry, name: str, trusts: str
) -> None:
    made = certificates(name)
    receiver = receivers(made)
    files = {
        "another authority": lambda: TlsFiles(certificates("127.0.0.1").authority),
        "it": lambda: TlsFiles(made.authority),
        "the system": TlsFiles,
    }[trusts]()
    with pytest.raises(OSError, match="certificate verify failed"):
        over_tls(receiver.port, files).deliver([entry(1)])
    assert receiver.messages == []


def test_a_receiver_without_tls_gets_nothing(certificates, receivers, entry) -> None:
    receiver = receivers()
    receiver_without_patience = socket.create_server(("127.0.0.1", 0))
    receiver_without_patience.close()
    with pytest.raises(OSError, match=r"."):
        over_tls(receiver_without_patience.getsockname()[1], TlsFiles()).deliver([entry(1)])
    with pytest.raises(OSError, match=r"."):
        over_tls(receiver.port, TlsFiles()).deliver([entry(1)])
    assert receiver.messages == []


def test_a_receiver_that_went_away_is_noticed_before_a_message_is_lost(receivers, entry) -> None:
    first = receivers()
    syslog = Syslog("127.0.0.1", first.port, transport="tcp", tls=TlsFiles())
    syslog.deliver([entry(1)])
    first.wait_for(1)
    first.close()
    with pytest.raises(OSError, match=r"."):
        syslog.deliver([entry(2)])
    second = receivers(port=first.port)
    syslog.deliver([entry(2)])
    assert second.wait_for(1)[0].endswith(entry(2).xml)
    syslog.close()


def test_one_datagram_is_one_message(entry) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        syslog = Syslog("127.0.0.1", receiver.getsockname()[1], transport="udp", tls=TlsFiles())
        syslog.deliver([entry(1), entry(2)])
        for number in (1, 2):
            message = HEADER.fullmatch(receiver.recv(65535))
            assert message
            assert message["msg"].endswith(entry(number).xml)
        syslog.close()
