"""Folders, incoming files, and what a disk may refuse."""

import errno
import hashlib
import multiprocessing
import os
import resource
import threading

import pytest

from dae_pacs.errors import SpoolError, SpoolFullError
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.receipt import Receipt

META = b"\x02\x00\x02\x00UI\x04\x001.2\x00"
HEAD = bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00" + len(META).to_bytes(4, "little") + META
EXPLICIT = "1.2.840.10008.1.2.1"
RECEIPT = Receipt("CT1", "DAE_PACS", "127.0.0.1", "a" * 32, 100.0, 1, "")


def data_set_of(path):
    whole = path.read_bytes()
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


@pytest.mark.parametrize("step", [1, 7, 143, 144, 145, 10_000])
def test_digest_covers_the_data_set_alone_however_it_is_cut(tmp_path, step):
    files = SpoolFiles(tmp_path)
    incoming = files.open_incoming()
    data_set = os.urandom(1000)
    whole = HEAD + data_set
    for start in range(0, len(whole), step):
        incoming.write(memoryview(whole)[start : start + step])
    assert incoming.digest == hashlib.sha256(data_set).hexdigest()
    with incoming.reading() as file:
        found = file.read()
    assert incoming.size == len(found)
    assert found.endswith(data_set)
    assert META in found[: -len(data_set)]
    assert incoming.start(7) == data_set[:7]
    incoming.discard()


@pytest.mark.parametrize("content", [b"", b"short", bytes(500), b"\xff" * 500])
def test_digest_of_what_is_no_part_10_file_covers_all(tmp_path, content):
    incoming = SpoolFiles(tmp_path).open_incoming()
    incoming.write(content)
    assert incoming.digest == hashlib.sha256(content).hexdigest()
    incoming.discard()


def test_settled_file_holds_the_bytes_and_a_name_of_ours(tmp_path):
    files = SpoolFiles(tmp_path)
    incoming = files.open_incoming()
    incoming.write(HEAD + b"data")
    path = files.settle(incoming, SOPInstanceUID="../../etc/passwd", transfer_syntax_uid=EXPLICIT)
    assert data_set_of(path) == b"data"
    assert path.parent.parent == files.objects
    assert not list(files.incoming.iterdir())
    incoming.discard()
    assert path.exists()


def test_same_bytes_under_two_uids_or_syntaxes_never_share_a_file(tmp_path):
    files = SpoolFiles(tmp_path)
    paths = set()
    for uid, syntax in (("1", EXPLICIT), ("2", EXPLICIT), ("1", "1.2.840.10008.1.2")):
        incoming = files.open_incoming()
        incoming.write(HEAD + b"data")
        paths.add(files.settle(incoming, SOPInstanceUID=uid, transfer_syntax_uid=syntax))
    assert len(paths) == 3


def test_derived_path_is_stable_and_stays_inside(tmp_path):
    files = SpoolFiles(tmp_path)
    path = files.derived_path("../../x")
    assert path == files.derived_path("../../x")
    assert path.parent.parent == files.derived


def test_discard_leaves_nothing_and_may_be_repeated(tmp_path):
    files = SpoolFiles(tmp_path)
    incoming = files.open_incoming()
    incoming.write(b"x" * 10)
    incoming.discard()
    incoming.discard()
    assert not list(files.incoming.iterdir())


def test_one_node_holds_a_spool(tmp_path):
    second = SpoolFiles(tmp_path).hold()
    with SpoolFiles(tmp_path).hold(), pytest.raises(SpoolError, match="in use by another node"):
        second.__enter__()
    with SpoolFiles(tmp_path).hold():
        pass


def test_free_room_is_told(tmp_path):
    assert SpoolFiles(tmp_path).free_mb() > 0


def test_spool_below_a_file_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(SpoolError, match=r"can't be used.*Not a directory.*node\.spool"):
        SpoolFiles(tmp_path / "file" / "spool")


def _open_as_nobody(folder, answers):
    os.setuid(65534)
    try:
        SpoolFiles(folder)
    except SpoolError as error:
        answers.put(str(error))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_unwritable_spool_is_refused_in_words(tmp_path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    SpoolFiles(tmp_path)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_open_as_nobody, args=(tmp_path, answers))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    answer = answers.get()
    assert "Permission denied" in answer
    assert "writable" in answer


def _fill(folder, answers):
    files = SpoolFiles(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    incoming = files.open_incoming()
    try:
        for _ in range(100):
            incoming.write(bytes(10_000))
        files.settle(incoming, SOPInstanceUID="1", transfer_syntax_uid=EXPLICIT)
    except SpoolFullError as error:
        incoming.discard()
        answers.put((str(error), len(list(files.incoming.iterdir()))))


def test_full_disk_is_told_apart_and_leaves_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    process = context.Process(target=_fill, args=(tmp_path, answers))
    process.start()
    process.join(20)
    assert process.exitcode == 0
    message, left = answers.get()
    assert "full" in message
    assert os.strerror(errno.EFBIG) in message
    assert left == 0


def test_file_that_can_not_be_flushed_is_gone_and_the_next_is_settled(tmp_path):
    files = SpoolFiles(tmp_path)
    incoming = files.open_incoming()
    incoming.write(HEAD + b"data")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(SpoolFullError):
            incoming.seal(RECEIPT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    incoming.discard()
    assert not list(files.incoming.iterdir())
    again = files.open_incoming()
    again.write(HEAD + b"data")
    again.seal(RECEIPT)
    path = files.settle(again, SOPInstanceUID="1.2", transfer_syntax_uid=EXPLICIT)
    assert data_set_of(path) == b"data"


def test_same_object_from_many_threads_is_one_whole_file(tmp_path):
    files, paths = SpoolFiles(tmp_path), []

    def settle():
        incoming = files.open_incoming()
        incoming.write(HEAD + b"x" * 100_000)
        paths.append(files.settle(incoming, SOPInstanceUID="1.2", transfer_syntax_uid=EXPLICIT))

    threads = [threading.Thread(target=settle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1
    assert paths[0].stat().st_size > 100_000
    assert paths[0].read_bytes().endswith(b"x" * 100_000)
    assert not list(files.incoming.iterdir())


def test_a_spool_is_closed_to_other_accounts_also_one_that_was_open(tmp_path):
    root = tmp_path / "spool"
    root.mkdir(mode=0o755)
    root.chmod(0o755)
    SpoolFiles(root)
    assert root.stat().st_mode & 0o777 == 0o700


def test_a_write_that_the_disk_takes_in_parts_is_whole(tmp_path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    incoming = SpoolFiles(tmp_path).open_incoming()
    data_set = os.urandom(100)
    incoming.write(HEAD)
    incoming.write(memoryview(data_set))
    assert incoming.start(1000) == data_set
