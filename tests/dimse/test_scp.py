import io
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from dae_pacs import part10
from dae_pacs.dimse import scp, scu
from dae_pacs.dimse.requestor import associate
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import (
    PeerError,
    ServiceError,
    SpoolError,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"

Sample = Callable[[str], Path]
DataSet = Callable[[Path], bytes]


def send_all(peer: scu.PeerAddress, *paths: Path) -> list[scu.SendResult]:
    results: list[scu.SendResult] = []
    scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae="TESTER", on_result=results.append)
    return results


def request(sample: Sample) -> C_STORE:
    """Make a whole and valid C-STORE request, for tests to spoil."""
    primitive = C_STORE()
    primitive.MessageID = 1
    primitive.Priority = 2
    primitive.AffectedSOPClassUID = CT
    primitive.AffectedSOPInstanceUID = "1.2.3.4"
    primitive.DataSet = io.BytesIO(sample("CT_small.dcm").read_bytes()[-1000:])
    return primitive


def stranger(node: Any, *contexts: tuple[str, list[str]], called: str = "DAE_PACS") -> Association:
    """Associate by stock pynetdicom, as a sender with habits other than ours."""
    ae = AE("STRANGER")
    ae.acse_timeout = ae.dimse_timeout = 5
    for sop_class, syntaxes in contexts:
        ae.add_requested_context(sop_class, syntaxes)
    assoc = ae.associate("127.0.0.1", node.scp.port, ae_title=called)
    connection = assoc.dul.socket.socket
    if connection is not None:  # pynetdicom leaves it open when the node was the first to go
        assoc.bind(evt.EVT_CONN_CLOSE, lambda _event: connection.close())
    return assoc


def exchange(assoc: Association, primitive: C_STORE) -> C_STORE:
    """Send a request as it stands and return the answer."""
    assoc._reactor_checkpoint.clear()
    time.sleep(0.05)
    assoc.dimse.send_msg(primitive, assoc.accepted_contexts[0].context_id)
    _, answer = assoc.dimse.get_msg(block=True)
    assoc._reactor_checkpoint.set()
    assert isinstance(answer, C_STORE)
    return answer


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "image_dfl.dcm"])
def test_what_is_kept_is_what_was_sent(node: Any, sample: Sample, data_set: DataSet, name: str) -> None:
    results = send_all(node.peer, sample(name))
    assert [result.outcome for result in results] == [Outcome.SENT]
    received = node.files()[0]
    assert data_set(received) == data_set(sample(name))
    with received.open("rb") as file:
        meta = part10.read(file)
    incoming = node.kept[0]
    assert meta == part10.FileMeta(
        incoming.SOPClassUID, incoming.SOPInstanceUID, incoming.transfer_syntax_uid
    )


def test_file_meta_comes_in_one_write_before_the_data_set(node: Any, sample: Sample) -> None:
    send_all(node.peer, sample("CT_small.dcm"))
    assert node.kept[0].file.first.startswith(bytes(128) + b"DICM")
    assert part10.read(io.BytesIO(node.kept[0].file.first)).transfer_syntax_uid == EXPLICIT


def test_explicit_little_endian_wins_whatever_the_sender_puts_first(node: Any) -> None:
    assoc = stranger(node, (CT, [IMPLICIT, "1.2.840.10008.1.2.4.70", EXPLICIT]))
    assert assoc.accepted_contexts[0].transfer_syntax == [EXPLICIT]
    assoc.release()


def test_private_and_retired_classes_are_kept_too(node: Any, sample: Sample) -> None:
    for uid in ("1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.1.1.6"):
        assoc = stranger(node, (uid, [EXPLICIT]))
        primitive = request(sample)
        primitive.AffectedSOPClassUID = uid
        assert exchange(assoc, primitive).Status == 0
        assoc.release()
    assert [incoming.SOPClassUID for incoming in node.kept] == [
        "1.3.12.2.1107.5.9.1",
        "1.2.840.10008.5.1.4.1.1.6",
    ]


@pytest.mark.parametrize("keyword", ["AffectedSOPInstanceUID", "AffectedSOPClassUID"])
def test_request_without_a_uid_is_answered(node: Any, sample: Sample, keyword: str) -> None:
    assoc = stranger(node, (CT, [EXPLICIT]))
    spoiled = request(sample)
    setattr(spoiled, keyword, None)
    assert exchange(assoc, spoiled).Status == 0xC000
    whole = request(sample)
    whole.MessageID = 2
    assert exchange(assoc, whole).Status == 0
    assoc.release()
    assert len(node.files()) == 1


@pytest.mark.filterwarnings("ignore:The value length")  # pydicom's, about what this test sends
def test_request_with_an_overlong_uid_is_answered_and_the_association_goes_on(
    node: Any, sample: Sample
) -> None:
    context, statuses = (CT, EXPLICIT), []
    with associate(node.peer, calling_ae="TESTER", contexts=[context]) as requestor:
        for uid in ("1." * 40 + "1", "1.2.3"):
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(bytes(100))
                file.seek(0)
                statuses.append(requestor.store(context, uid, file=file, size_bytes=100).status)
    assert statuses == [0xC000, 0x0000]
    assert [incoming.SOPInstanceUID for incoming in node.kept] == ["1.2.3"]


def test_end_that_can_not_be_recorded_is_logged(
    start_node: Any, sample: Sample, caplog: pytest.LogCaptureFixture
) -> None:
    def association_ended(_association: str) -> None:
        raise SpoolError("ledger locked")

    node = start_node(association_ended=association_ended)
    send_all(node.peer, sample("CT_small.dcm"))
    node.scp.stop()
    assert "end of association not recorded" in caplog.text


def test_service_starts_again_after_a_stop(node: Any, sample: Sample) -> None:
    node.scp.stop()
    node.scp.start()
    assert send_all(node.peer, sample("CT_small.dcm"))[0].outcome is Outcome.SENT


def test_request_without_priority_is_taken(node: Any, sample: Sample) -> None:
    assoc = stranger(node, (CT, [EXPLICIT]))
    primitive = request(sample)
    primitive._priority = None
    assert exchange(assoc, primitive).Status == 0
    assoc.release()


def test_class_that_is_not_the_contexts_is_refused(node: Any, sample: Sample) -> None:
    assoc = stranger(node, (CT, [EXPLICIT]))
    primitive = request(sample)
    primitive.AffectedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    assert exchange(assoc, primitive).Status == 0x0122
    assoc.release()
    assert node.files() == []


def test_request_without_a_data_set_is_refused(node: Any, sample: Sample) -> None:
    assoc = stranger(node, (CT, [EXPLICIT]))
    primitive = request(sample)
    primitive.DataSet = None
    assert exchange(assoc, primitive).Status == 0xC000
    assoc.release()
    assert node.files() == []


def test_end_of_an_association_is_told_after_its_last_object(start_node: Any, sample: Sample) -> None:
    def keep(_incoming: scp.Incoming) -> scp.Answer:
        time.sleep(0.2)
        return scp.Answer(0)

    node = start_node(keep=keep)
    send_all(node.peer, sample("CT_small.dcm"), sample("MR_small.dcm"))
    node.wait_for("ended")
    assert node.events == ["kept", "kept", "ended"]
    assert node.kept[0].association == node.kept[1].association
    send_all(node.peer, sample("CT_small.dcm"))
    assert node.kept[2].association != node.kept[0].association


def test_end_is_told_after_an_abort_while_an_object_is_kept(start_node: Any, sample: Sample) -> None:
    begun = threading.Event()

    def keep(_incoming: scp.Incoming) -> scp.Answer:
        begun.set()
        time.sleep(0.3)
        node.events.append("done")
        return scp.Answer(0)

    node = start_node(keep=keep)
    assoc = stranger(node, (CT, [EXPLICIT]))
    assoc.dimse.send_msg(request(sample), assoc.accepted_contexts[0].context_id)
    assert begun.wait(5)
    assoc.abort()
    node.wait_for("ended")
    assert node.events == ["kept", "done", "ended"]
    assert scu.echo(node.peer, calling_ae="TESTER") < 5


def test_connection_that_breaks_inside_an_object_keeps_nothing(node: Any, sample: Sample) -> None:
    send_all(node.peer, sample("CT_small.dcm"))
    assoc = stranger(node, (CT, [EXPLICIT]))
    connection = assoc.dul.socket.socket
    connection.sendall(b"\x04\x00\x00\x00\x10\x00" + bytes(100))  # a PDU that promises 4 KiB
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()
    node.wait_for("ended")
    assert len(node.files()) == 1
    assoc.kill()


def test_sender_that_falls_silent_inside_a_pdu_is_dropped(start_node: Any) -> None:
    node = start_node(association_timeout_s=0.5)
    with socket.create_connection(("127.0.0.1", node.scp.port)) as connection:
        connection.sendall(b"\x01\x00\x00\x00\x10\x00" + bytes(10))
        connection.settimeout(5)
        assert connection.recv(10) in (b"", b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00")


def test_idle_association_is_aborted_after_the_network_timeout(start_node: Any) -> None:
    node = start_node(network_timeout_s=0.5)
    assoc = stranger(node, (CT, [EXPLICIT]))
    deadline = time.monotonic() + 5
    while assoc.is_established and time.monotonic() < deadline:
        time.sleep(0.02)
    assert assoc.is_aborted


def test_association_above_the_limit_is_rejected_for_now(start_node: Any) -> None:
    node = start_node(max_associations=1)
    first = stranger(node, (CT, [EXPLICIT]))
    with pytest.raises(
        PeerError, match=r"for now: local limit of associations exceeded \(result 2, source 3, reason 2\)"
    ):
        scu.echo(node.peer, calling_ae="TESTER")
    first.release()
    first.join(5)
    deadline = time.monotonic() + 5
    while True:
        try:
            scu.echo(node.peer, calling_ae="TESTER")
            break
        except PeerError:
            if time.monotonic() > deadline:
                raise


def test_called_ae_title_does_not_count_where_anyone_is_let_in(node: Any) -> None:
    assoc = stranger(node, (CT, [EXPLICIT]), called="SOMEBODY")
    assert assoc.is_established
    assoc.release()


def test_port_in_use_is_said_in_words(node: Any, start_node: Any) -> None:
    with pytest.raises(ServiceError, match="another program has the port"):
        start_node(port=node.scp.port)


@pytest.mark.parametrize("bind", ["192.0.2.1", "no-such-host.invalid"])
def test_address_of_another_machine_is_said_in_words(start_node: Any, bind: str) -> None:
    with pytest.raises(ServiceError, match=r"this machine has no such address"):
        start_node(bind=bind)


def test_port_is_known_only_after_start() -> None:
    def never(*_: object) -> Any:
        raise AssertionError

    service = scp.StorageSCP(
        scp.ScpSettings("DAE_PACS", port=0), open_file=never, keep=never, association_ended=never
    )
    with pytest.raises(ServiceError, match="not started"):
        _ = service.port
    service.stop()


def test_stop_waits_for_the_object_that_is_being_kept(start_node: Any, sample: Sample) -> None:
    begun = threading.Event()

    def keep(_incoming: scp.Incoming) -> scp.Answer:
        begun.set()
        time.sleep(0.5)
        node.events.append("done")
        return scp.Answer(0)

    node = start_node(keep=keep)
    peer = node.peer
    sender = threading.Thread(target=send_all, args=(peer, sample("CT_small.dcm")))
    sender.start()
    assert begun.wait(5)
    node.scp.stop()
    assert node.events == ["kept", "done", "ended"]
    sender.join(10)
    with pytest.raises(PeerError, match="connection refused"):
        scu.echo(peer, calling_ae="TESTER")


def test_stop_leaves_no_thread_behind(start_node: Any) -> None:
    before = set(threading.enumerate())
    node = start_node()
    assoc = stranger(node, (CT, [EXPLICIT]))
    silent = socket.create_connection(("127.0.0.1", node.scp.port))
    silent.sendall(b"\x01\x00\x00\x00\x10\x00")
    time.sleep(0.1)
    node.scp.stop()
    assoc.join(5)
    silent.close()
    left = {thread for thread in threading.enumerate() if thread.is_alive()} - before
    assert left == set()
