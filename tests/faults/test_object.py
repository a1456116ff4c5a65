"""Objects that are wrong, or come at a wrong time: the answer, what is kept, and that the next one is."""

import errno
import logging
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading

import pytest
from pydicom import dcmread
from stranger import COMMAND, CT, DATA, IMPLICIT, LAST, data_set_of, pdv, small_ct, store_command

from dae_pacs.errors import SpoolError, SpoolFullError

OTHER = "1.2.3.4.5.6.7"


@pytest.fixture
def ds():
    return small_ct()


@pytest.fixture
def body(ds):
    return data_set_of(ds)


def test_instance_uid_of_another_object_is_a_mismatch(gate, body):
    reply = gate.dial().associate().store(OTHER, body)
    assert (reply.status, reply.comment) == (0xA900, "SOP Instance UID of command and data set differ")
    gate.settled(0)
    gate.still_works()


def test_class_of_another_object_is_a_mismatch(gate):
    ds = small_ct(SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    reply = gate.dial().associate().store(str(ds.SOPInstanceUID), data_set_of(ds))
    assert (reply.status, reply.comment) == (0xA900, "SOP Class UID of command and data set differ")
    gate.settled(0)
    gate.still_works()


@pytest.mark.parametrize(
    "uid",
    [
        "",
        " ",
        "1.2." + "3" * 61,
        "1..2",
        ".1.2",
        "1.2.",
        "1",
        "1.2.x",
        "1.2 3",
        "1.2,3",
        "../..",
        "../../../../tmp/x",
        "/etc/passwd",
        "1.2'; DROP TABLE instances; --",
        "<script>alert(1)</script>",
        "1.2\n3",
        "1.2\x003",
        "\xff\xfe",
    ],
)
def test_instance_uid_that_is_none_is_refused(gate, ds, body, uid, caplog):
    caplog.set_level(logging.DEBUG, logger="dae_pacs")
    stranger = gate.dial().associate()
    reply = stranger.store(uid, body)
    assert reply.status == 0xC000
    assert reply.comment.startswith("Affected SOP Instance UID is ")
    written = " ".join(str(record.__dict__) for record in caplog.records)
    assert len(uid) < 3 or uid not in written
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0, "the association goes on"
    gate.settled(1)
    gate.still_works()


@pytest.mark.parametrize("uid", ["", "1.2." + "3" * 61, "../.."])
def test_class_uid_that_is_none_is_refused(gate, ds, body, uid):
    reply = gate.dial().associate().store(str(ds.SOPInstanceUID), body, class_uid=uid)
    assert reply.status == 0xC000
    assert reply.comment.startswith("Affected SOP Class UID is ")
    gate.settled(0)
    gate.still_works()


def test_leading_zero_in_a_uid_is_kept_with_a_warning(gate):
    body = data_set_of(small_ct(SOPInstanceUID="1.2.333.4")).replace(b"1.2.333.4", b"1.2.003.4")
    assert gate.dial().associate().store("1.2.003.4", body).status == 0
    kept = gate.ledger.received("1.2.003.4")
    assert kept is not None
    assert "leading zero" in kept.reason
    gate.settled(1)
    gate.still_works()


def test_every_truncation_of_a_data_set_is_refused(gate, ds, body):
    stranger = gate.dial().associate()
    for size in (1, 7, 8, 20, 100, len(body) // 2, len(body) - 2048, len(body) - 1):
        reply = stranger.store(str(ds.SOPInstanceUID), body[:size])
        assert (reply.status, reply.comment) == (0xC000, "the data set can't be read"), size
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    gate.settled(1)
    gate.still_works()


@pytest.mark.parametrize(
    "body",
    [b"\x00" * 3000, b"\xff" * 3000, b"MZ\x90\x00" * 500, bytes(range(256)) * 10],
    ids=["zeros", "ones", "a program", "every byte"],
)
def test_bytes_that_are_no_data_set_are_refused(gate, ds, body):
    assert gate.dial().associate().store(str(ds.SOPInstanceUID), body).status in {0xC000, 0xA900}
    gate.settled(0)
    gate.still_works()


def test_data_set_of_no_bytes_is_refused(gate, ds):
    stranger = gate.dial().associate()
    stranger.data(pdv(1, COMMAND | LAST, store_command(str(ds.SOPInstanceUID))), pdv(1, LAST, b""))
    reply = stranger.reply()
    assert (reply.status, reply.comment) == (0xC000, "no data set")
    gate.settled(0)
    gate.still_works()


def test_data_set_in_another_syntax_than_negotiated_is_refused(gate, ds, body):
    stranger = gate.dial().associate(contexts=[(1, CT, [IMPLICIT])])
    assert stranger.store(str(ds.SOPInstanceUID), body).status in {0xC000, 0xA900}
    gate.settled(0)
    gate.still_works()


def test_sequence_nested_beyond_reason_is_refused(gate, ds, body):
    nested = b""
    for _ in range(200):
        item = b"\xfe\xff\x00\xe0" + len(nested).to_bytes(4, "little") + nested
        nested = b"\x08\x00\x40\x11SQ\x00\x00" + len(item).to_bytes(4, "little") + item
    at = body.index(b"\x08\x00\x60\x00")  # Modality: 0008,1140 belongs behind it, but order is not looked at
    reply = gate.dial().associate().store(str(ds.SOPInstanceUID), body[:at] + nested + body[at:])
    assert reply.status == 0xC000
    gate.settled(0)
    gate.still_works()


def test_same_object_again_is_success_and_one_file(gate, ds, body):
    stranger = gate.dial().associate()
    assert [stranger.store(str(ds.SOPInstanceUID), body).status for _ in range(3)] == [0, 0, 0]
    gate.settled(1)
    assert gate.ledger.counts()["instances"] == {"received kept": 1}
    gate.still_works()


def test_same_object_from_four_senders_at_once_is_one_file(gate, ds, body):
    statuses = []

    def send():
        statuses.append(gate.dial().associate().store(str(ds.SOPInstanceUID), body).status)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert statuses == [0, 0, 0, 0]
    assert gate.settled(1)[0].read_bytes().endswith(body)
    assert gate.ledger.counts()["instances"] == {"received kept": 1}
    gate.still_works()


def test_other_bytes_under_a_known_uid_go_to_quarantine(gate, ds, body):
    stranger = gate.dial().associate()
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    ds.PatientName = "Somebody^Else"
    reply = stranger.store(str(ds.SOPInstanceUID), data_set_of(ds))
    assert reply.status == 0x0111
    assert "quarantine" in reply.comment
    assert gate.settled(1)[0].read_bytes().endswith(body), "the first stays"
    assert len(list(gate.files.quarantine.iterdir())) == 1
    assert gate.ledger.counts()["instances"] == {"received kept": 1, "received quarantined": 1}
    gate.still_works()


def test_object_above_the_cap_is_refused_and_the_association_goes_on(open_gate, ds, body):
    gate = open_gate(max_object_bytes=len(body))
    big = small_ct(PixelData=bytes(100_000))
    stranger = gate.dial().associate()
    reply = stranger.store(str(big.SOPInstanceUID), data_set_of(big))
    assert (reply.status, reply.comment) == (0xA700, "larger than this node takes")
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    gate.settled(1)


def test_malformed_pixels_in_a_well_formed_data_set_are_kept(gate):
    ds = small_ct(Rows=1000, Columns=1000)
    assert gate.dial().associate().store(str(ds.SOPInstanceUID), data_set_of(ds)).status == 0
    gate.settled(1)
    gate.still_works()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SpoolFullError("no room"), 0xA700),
        (SpoolError("read-only"), 0xA700),
        (OSError(errno.EROFS, "Read-only file system"), 0xA700),
        (OSError(errno.EIO, "Input/output error"), 0xA700),
        (MemoryError(), 0xA700),
    ],
    ids=["full", "spool", "read-only", "i/o error", "memory"],
)
@pytest.mark.parametrize("where", ["open", "write"])
def test_disk_that_refuses_is_out_of_resources_until_it_does_not(gate, ds, body, error, status, where):
    class Refusing:
        def __init__(self, file):
            self.file, self.writes = file, 0

        def write(self, data):
            self.writes += 1
            if self.writes > 1:
                raise error
            self.file.write(data)

        def discard(self):
            self.file.discard()

    def refuse():
        if where == "open":
            raise error
        return Refusing(gate.files.open_incoming())

    gate.open_file = refuse
    stranger = gate.dial().associate()
    reply = stranger.store(str(ds.SOPInstanceUID), body)
    assert reply.status == status
    assert reply.comment
    gate.settled(0)
    gate.open_file = gate.files.open_incoming
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0, "without a restart"
    gate.settled(1)
    gate.still_works()


def test_disk_without_room_is_out_of_resources_until_there_is_some(gate, ds, body):
    """A limit on the size of files stands for the full disk: the kernel refuses the write itself."""
    stranger = gate.dial().associate()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        reply = stranger.store(str(ds.SOPInstanceUID), body)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (reply.status, reply.comment) == (0xA700, "no room left in the spool")
    gate.settled(0)
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    gate.settled(1)
    gate.still_works()


def test_ledger_that_is_gone_is_out_of_resources_until_it_is_back(gate, ds, body):
    beside = sqlite3.connect(gate.files.ledger_path, isolation_level=None)
    beside.execute("ALTER TABLE instances RENAME TO elsewhere")
    stranger = gate.dial().associate()
    reply = stranger.store(str(ds.SOPInstanceUID), body)
    assert (reply.status, reply.comment) == (0xA700, "the spool can't keep the object")
    beside.execute("ALTER TABLE elsewhere RENAME TO instances")
    beside.close()
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    assert gate.settled(1)[0].read_bytes().endswith(body)
    gate.still_works()


def test_objects_folder_that_is_gone_stops_receiving_until_it_is_back(gate, ds, body):
    hidden = gate.files.objects.with_name("hidden")
    gate.files.objects.rename(hidden)
    stranger = gate.dial().associate()
    try:
        assert stranger.store(str(ds.SOPInstanceUID), body).status == 0, "it is on stable storage"
        assert not gate.ledger.index.drain(0.5), "and waits there for its folder"
        other = small_ct()
        assert stranger.store(str(other.SOPInstanceUID), data_set_of(other)).status == 0xA700
    finally:
        hidden.rename(gate.files.objects)
    assert stranger.store(str(other.SOPInstanceUID), data_set_of(other)).status == 0, "without a restart"
    gate.settled(2)
    assert gate.ledger.received(str(ds.SOPInstanceUID)) is not None
    gate.still_works()


def test_refused_object_is_read_to_its_end_so_that_the_next_is_understood(gate, ds, body):
    stranger = gate.dial().associate()
    stranger.data(pdv(1, COMMAND | LAST, store_command("../..")))
    for start in range(0, len(body), 100):
        stranger.data(pdv(1, DATA, body[start : start + 100]))
    stranger.data(pdv(1, LAST, b""))
    assert stranger.reply().status == 0xC000
    assert stranger.store(str(ds.SOPInstanceUID), body).status == 0
    gate.settled(1)
    gate.still_works()


@pytest.mark.pacs
@pytest.mark.parametrize("program", [["storescu", "-R"], ["storescu", "-R", "-pdu", "4096"], ["dcmsend"]])
def test_dcmtk_is_answered_beside_a_stranger_who_holds_an_object_open(open_gate, tmp_path, program):
    if shutil.which(program[0]) is None:
        pytest.skip("Debian's dcmtk is not installed")
    gate = open_gate(dimse_timeout_s=20.0, network_timeout_s=20.0)
    held = gate.dial().associate()
    held.data(pdv(1, COMMAND | LAST, store_command(OTHER)), pdv(1, DATA, b"x" * 1000))
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.dcm")
        small_ct().save_as(paths[-1], enforce_file_format=True)
    command = [*program, "-aec", "DAE_PACS", "127.0.0.1", str(gate.scp.port), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    uids = {str(dcmread(path).SOPInstanceUID) for path in gate.stored()}
    assert uids == {str(dcmread(path).SOPInstanceUID) for path in paths}
    held.close()
    gate.settled(3)
    gate.still_works()


def test_object_that_names_two_instances_is_not_taken_for_the_first(gate, ds, body):
    """PS3.5 7.1 has each element once, in the order of the tags; the ledger would know it as the second."""
    uid = str(ds.SOPInstanceUID)
    element = b"\x08\x00\x18\x00UI" + len(uid + uid[-1] * (len(uid) % 2)).to_bytes(2, "little")
    at = body.index(element) + len(element) + len(uid) + len(uid) % 2
    other = b"\x08\x00\x18\x00UI\x10\x00" + b"1.2.840.113619.9"
    stranger = gate.dial().associate()
    assert stranger.store(uid, body[:at] + other + body[at:]).status in {0xA900, 0xC000}
    stranger.release()
    gate.settled(0)
    gate.still_works()
