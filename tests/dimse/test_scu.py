import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.uid import generate_uid
from pynetdicom import AE, evt

from dae_pacs.dimse import contexts, listening, scp, scu
from dae_pacs.dimse.access import Guest, GuestList
from dae_pacs.dimse.entrance import Entrance
from dae_pacs.dimse.statuses import Outcome
from dae_pacs.errors import ConfigError, NotDicomError, PeerError

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"

Sample = Callable[[str], Path]
DataSet = Callable[[Path], bytes]


def send_all(peer: scu.PeerAddress, *paths: Path) -> list[scu.SendResult]:
    results: list[scu.SendResult] = []
    scu.send(peer, [scu.outgoing(path) for path in paths], calling_ae="TESTER", on_result=results.append)
    return results


def patient(peer: scu.PeerAddress, seconds: float) -> scu.PeerAddress:
    return scu.PeerAddress(peer.ae_title, peer.host, peer.port, seconds, seconds)


@contextlib.contextmanager
def stock_scp(
    handler: Callable[[evt.Event], int], *, max_pdu: int = 16382, syntaxes: tuple[str, ...] = (EXPLICIT,)
) -> Iterator[scu.PeerAddress]:
    """Serve CT by stock pynetdicom, with any behaviour."""
    ae = AE("STOCK")
    ae.maximum_pdu_size = max_pdu
    ae.add_supported_context(CT, list(syntaxes))
    handlers = [
        (evt.EVT_C_STORE, handler),
        (evt.EVT_CONN_OPEN, lambda event: listening.tune(event.assoc, timeout_s=30.0)),
    ]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield scu.PeerAddress("STOCK", "127.0.0.1", server.server_address[1], 5.0, 5.0)
    finally:
        ae.shutdown()


@contextlib.contextmanager
def bare_server(serve: Callable[[socket.socket], None]) -> Iterator[scu.PeerAddress]:
    """Listen without speaking DICOM; `serve` gets the one connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            with connection:
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield scu.PeerAddress("BARE", "127.0.0.1", listener.getsockname()[1], 1.0, 1.0)
        thread.join(10)


@pytest.fixture
def cts(sample: Sample, tmp_path: Path) -> list[Path]:
    """Five CT images with UIDs of their own."""
    paths = []
    for number in range(5):
        ds = pydicom.dcmread(sample("CT_small.dcm"))
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        paths.append(tmp_path / f"ct-{number}.dcm")
        ds.save_as(paths[-1])
    return paths


@pytest.mark.pacs
def test_storescp_gets_every_object_bit_for_bit(
    start_storescp: Any, sample: Sample, data_set: DataSet, cts: list[Path]
) -> None:
    peer = start_storescp("--accept-all")
    paths = [*cts, sample("JPEG2000.dcm"), sample("MR_small_bigendian.dcm"), sample("JPEG-LL.dcm")]
    results = send_all(peer.peer, *paths)
    assert [result.outcome for result in results] == [Outcome.SENT] * len(paths)
    assert [result.outgoing.path for result in results] == paths
    received = sorted(data.rstrip(b"\0") for data in peer.data_sets())
    assert received == sorted(data_set(path).rstrip(b"\0") for path in paths)


@pytest.mark.pacs
@pytest.mark.parametrize("pdu", [4096, 16384, 131072])
def test_large_object_fits_any_pdu_size_of_the_peer(
    start_storescp: Any, sample: Sample, data_set: DataSet, tmp_path: Path, pdu: int
) -> None:
    ds = pydicom.dcmread(sample("CT_small.dcm"))
    ds.Rows = ds.Columns = 1000
    ds.PixelData = bytes(range(250)) * 8000
    path = tmp_path / "large.dcm"
    ds.save_as(path)
    peer = start_storescp("--max-pdu", str(pdu))
    assert send_all(peer.peer, path)[0].outcome is Outcome.SENT
    assert peer.data_sets() == [data_set(path)]


@pytest.mark.pacs
def test_context_that_the_peer_refuses_is_dead_with_its_name(start_storescp: Any, sample: Sample) -> None:
    peer = start_storescp("+xe")
    results = send_all(peer.peer, sample("JPEG2000.dcm"), sample("CT_small.dcm"), sample("JPEG-LL.dcm"))
    assert [result.outcome for result in results] == [Outcome.DEAD, Outcome.SENT, Outcome.DEAD]
    assert results[0].status is None
    for words in ("Secondary Capture Image Storage", "JPEG 2000", "not supported"):
        assert words in results[0].message


@pytest.mark.pacs
def test_peer_that_refuses_every_context_leaves_all_dead(start_storescp: Any, sample: Sample) -> None:
    peer = start_storescp("--implicit")
    results = send_all(peer.peer, sample("JPEG2000.dcm"), sample("CT_small.dcm"))
    assert [result.outcome for result in results] == [Outcome.DEAD, Outcome.DEAD]
    assert "CT Image Storage in Explicit VR Little Endian" in results[1].message


@pytest.mark.pacs
@pytest.mark.parametrize("option", ["--abort-after", "--abort-during"])
def test_peer_that_aborts_midway_leaves_the_rest_to_retry(
    start_storescp: Any, cts: list[Path], option: str
) -> None:
    results = send_all(start_storescp(option).peer, *cts)
    assert [result.outcome for result in results] == [Outcome.RETRY] * 5
    assert "abort" in results[0].message or "broke" in results[0].message
    assert results[4].message.startswith("not sent: ")


@pytest.mark.pacs
def test_peer_that_rejects_is_named_with_its_reason(start_storescp: Any, cts: list[Path]) -> None:
    peer = start_storescp("--refuse", answers_echo=False).peer
    with pytest.raises(
        PeerError, match=r"STORESCP@127.0.0.1:\d+ rejected the association .*result 1, source"
    ):
        send_all(peer, *cts)


@pytest.mark.pacs
def test_storescp_answers_echo(start_storescp: Any) -> None:
    assert 0 < scu.echo(start_storescp().peer, calling_ae="TESTER") < 5


def test_two_hundred_objects_arrive_over_one_association(node: Any, cts: list[Path]) -> None:
    results = send_all(node.peer, *cts * 40)
    assert {result.outcome for result in results} == {Outcome.SENT}
    assert len({incoming.association for incoming in node.kept}) == 1
    assert len(node.kept) == 200


def test_result_is_told_before_the_next_object_goes_out(node: Any, cts: list[Path]) -> None:
    counts: list[int] = []
    scu.send(
        node.peer,
        [scu.outgoing(path) for path in cts],
        calling_ae="TESTER",
        on_result=lambda _result: counts.append(len(node.kept)),
    )
    assert counts == [1, 2, 3, 4, 5]


def test_more_contexts_than_one_association_takes_are_split(
    node: Any, sample: Sample, tmp_path: Path
) -> None:
    ds = pydicom.dcmread(sample("CT_small.dcm"))
    paths = []
    for number, uid in enumerate(contexts.STORAGE_SOP_CLASSES[:130]):
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = uid
        paths.append(tmp_path / f"{number}.dcm")
        ds.save_as(paths[-1])
    results = send_all(node.peer, *paths)
    assert [result.outcome for result in results] == [Outcome.SENT] * 130
    assert len({incoming.association for incoming in node.kept}) == 2


def test_statuses_of_the_peer_become_outcomes(cts: list[Path]) -> None:
    statuses = iter((0x0000, 0xB007, 0xA700, 0xC000, 0xA900))
    with stock_scp(lambda _event: next(statuses)) as peer:
        results = send_all(peer, *cts)
    assert [result.outcome for result in results] == [
        Outcome.SENT,
        Outcome.WARNING,
        Outcome.RETRY,
        Outcome.DEAD,
        Outcome.DEAD,
    ]
    assert [result.status for result in results] == [0x0000, 0xB007, 0xA700, 0xC000, 0xA900]


# pynetdicom's own server leaves its socket to the collector when the peer has gone before it answers.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_answer_that_never_comes_leaves_the_object_and_the_rest_to_retry(cts: list[Path]) -> None:
    answered, given_up = threading.Event(), threading.Event()

    def handler(_event: evt.Event) -> int:
        if answered.is_set():
            given_up.wait(30)
        answered.set()
        return 0

    with stock_scp(handler) as peer:
        results = send_all(patient(peer, 2.0), *cts)
        given_up.set()
    assert [result.outcome for result in results] == [Outcome.SENT] + [Outcome.RETRY] * 4
    assert "no answer within 2 s" in results[1].message


def test_peer_with_tiny_pdus_is_served(cts: list[Path], data_set: DataSet) -> None:
    received: list[bytes] = []

    def handler(event: evt.Event) -> int:
        received.append(event.request.DataSet.getvalue())
        return 0

    with stock_scp(handler, max_pdu=64) as peer:
        assert send_all(peer, cts[0])[0].outcome is Outcome.SENT
    assert received == [data_set(cts[0])]


def test_nothing_listening_is_said_in_words(unused_port: int, cts: list[Path]) -> None:
    with pytest.raises(PeerError, match=r"PACS@127.0.0.1:\d+: connection refused; nothing listens there"):
        send_all(scu.PeerAddress("PACS", "127.0.0.1", unused_port), *cts)


def test_unknown_host_is_said_in_words() -> None:
    with pytest.raises(PeerError, match="host name can't be resolved"):
        scu.echo(scu.PeerAddress("PACS", "no-such-host.invalid", 104), calling_ae="TESTER")


def test_host_that_does_not_answer_times_out() -> None:
    with socket.socket() as full:  # a listener whose queue is full lets further callers wait
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for caller in waiting:
            caller.setblocking(False)
            caller.connect_ex(address)
        with pytest.raises(PeerError, match=r"no connection within 0\.3 s"):
            scu.echo(scu.PeerAddress("PACS", *address, 0.3, 0.3), calling_ae="TESTER")
        for caller in waiting:
            caller.close()


def test_service_that_is_silent_after_connecting_times_out() -> None:
    with (
        bare_server(lambda _connection: time.sleep(2.0)) as peer,
        pytest.raises(PeerError, match="no answer to the association request within 1 s"),
    ):
        scu.echo(peer, calling_ae="TESTER")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x07\0\0\0\0\x04\0\0\0\0"])
def test_service_that_speaks_no_dicom_is_said_in_words(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(answer)

    with bare_server(serve) as peer, pytest.raises(PeerError, match="aborted or closed the connection"):
        scu.echo(peer, calling_ae="TESTER")


def test_rejection_names_the_ae_title_as_the_cause(start_node: Any) -> None:
    tester = Guest("tester", ("TESTER",), ("127.0.0.1",))
    node = start_node(entrance=Entrance(admit=GuestList([tester], called=["DAE_PACS"]).refusal))
    peer = scu.PeerAddress("WRONG", "127.0.0.1", node.scp.port)
    with pytest.raises(
        PeerError,
        match=r"WRONG@.* permanently: it does not go by the AE title .*\(result 1, source 1, reason 7\)",
    ):
        scu.echo(peer, calling_ae="TESTER")


def test_peer_without_verification_is_said_in_words() -> None:
    with stock_scp(lambda _event: 0) as peer, pytest.raises(PeerError, match="does not accept Verification"):
        scu.echo(peer, calling_ae="TESTER")


def test_calling_ae_title_is_checked(node: Any) -> None:
    with pytest.raises(ConfigError, match="AE title"):
        scu.echo(node.peer, calling_ae="MUCH_TOO_LONG_A_TITLE")


def test_file_in_trouble_does_not_stop_the_others(node: Any, cts: list[Path], sample: Sample) -> None:
    outgoing = [scu.outgoing(path) for path in cts]
    cts[0].unlink()
    shutil.copyfile(sample("MR_small.dcm"), cts[1])
    cts[2].write_bytes(b"no DICOM")
    cts[3].write_bytes(cts[3].read_bytes()[:400])
    results: list[scu.SendResult] = []
    scu.send(node.peer, outgoing, calling_ae="TESTER", on_result=results.append)
    outcomes = [result.outcome for result in results]
    assert outcomes[:3] == [Outcome.DEAD] * 3
    assert outcomes[4] is Outcome.SENT
    assert "is gone" in results[0].message
    assert "another SOP class, SOP instance or transfer syntax" in results[1].message
    assert "no DICOM file" in results[2].message


def test_file_without_a_data_set_is_dead(node: Any, cts: list[Path]) -> None:
    outgoing = [scu.outgoing(cts[0])]
    content = cts[0].read_bytes()
    cts[0].write_bytes(content[: 144 + int.from_bytes(content[140:144], "little")])
    results: list[scu.SendResult] = []
    scu.send(node.peer, outgoing, calling_ae="TESTER", on_result=results.append)
    assert results[0].outcome is Outcome.DEAD
    assert "no data set" in results[0].message


def test_error_of_the_callback_ends_the_association_and_reaches_the_caller(
    node: Any, cts: list[Path]
) -> None:
    def on_result(_result: scu.SendResult) -> None:
        raise RuntimeError("ledger gone")

    with pytest.raises(RuntimeError, match="ledger gone"):
        scu.send(node.peer, [scu.outgoing(p) for p in cts], calling_ae="TESTER", on_result=on_result)
    node.wait_for("ended")
    assert len(node.kept) == 1


def test_peer_that_stops_reading_is_given_up(node: Any, sample: Sample, tmp_path: Path) -> None:
    ds = pydicom.dcmread(sample("CT_small.dcm"))
    ds.Rows = ds.Columns = 4000
    ds.PixelData = bytes(32_000_000)
    path = tmp_path / "large.dcm"
    ds.save_as(path)
    given_up = threading.Event()

    def relay(connection: socket.socket) -> None:
        """Pass the negotiation on to the node, and nothing after it."""
        with socket.create_connection(("127.0.0.1", node.scp.port)) as behind:
            behind.sendall(connection.recv(100_000))
            connection.sendall(behind.recv(100_000))
            given_up.wait(30)

    with bare_server(relay) as peer:
        results = send_all(patient(peer, 3.0), path)
        given_up.set()
    assert results[0].outcome is Outcome.RETRY
    assert "broke while an object was sent" in results[0].message


def test_no_thread_and_no_connection_outlives_a_send(cts: list[Path], start_node: Any) -> None:
    node = start_node(keep=lambda _incoming: scp.Answer(0xA700))
    before = threading.active_count()
    for _ in range(3):
        send_all(node.peer, *cts)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_sending_nothing_makes_no_association(unused_port: int) -> None:
    assert send_all(scu.PeerAddress("PACS", "127.0.0.1", unused_port)) == []


def test_what_is_no_part_10_file_is_not_described(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(b"x" * 200)
    with pytest.raises(NotDicomError, match="DICM"):
        scu.outgoing(path)
