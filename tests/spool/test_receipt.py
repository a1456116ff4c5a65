"""A file says itself who sent it and that it is whole; one that was torn never does."""

import os

import pytest
from pydicom import dcmread

from dae_pacs import part10
from dae_pacs.part10 import FileMeta
from dae_pacs.spool import receipt
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.receipt import Receipt

META = FileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1")
SAID = Receipt("CT1", "DAE_PACS", "127.0.0.1", "a" * 32, 100.5, 7, "odd")
DATA = b"\x08\x00\x60\x00CS\x02\x00CT\xe0\x7f\x10\x00OW\x00\x00" + (5000).to_bytes(4, "little") + bytes(5000)


def sealed_file(root, data=DATA):
    incoming = SpoolFiles(root).open_incoming()
    incoming.write(part10.encode(META, calling_ae="CT1", called_ae="DAE_PACS"))
    for start in range(0, len(data), 999):
        incoming.write(memoryview(data)[start : start + 999])
    incoming.seal(SAID)
    incoming.flush()
    return incoming


def test_file_gives_back_its_receipt_and_its_data_set(tmp_path):
    incoming = sealed_file(tmp_path)
    found = receipt.read(incoming.path)
    assert found is not None
    assert (found.receipt, found.meta) == (SAID, META)
    assert found.size_bytes == incoming.size == incoming.path.stat().st_size
    assert incoming.path.read_bytes()[found.data_start :] == DATA
    assert found.digest() == incoming.digest


def test_file_is_an_ordinary_one_to_others(tmp_path):
    ds = dcmread(sealed_file(tmp_path).path)
    assert ds.Modality == "CT"
    assert ds.file_meta.SendingApplicationEntityTitle == "CT1"
    assert ds.file_meta.ReceivingApplicationEntityTitle == "DAE_PACS"
    assert len(ds.PixelData) == 5000


@pytest.mark.parametrize("place", [0, 140, 200, 420, 600, 3000, -1])
def test_one_byte_that_is_another_makes_it_none(tmp_path, place):
    path = sealed_file(tmp_path).path
    content = bytearray(path.read_bytes())
    content[place] ^= 0x40
    path.write_bytes(content)
    assert receipt.read(path) is None


@pytest.mark.parametrize("sector", range(0, 5000, 512))
def test_sector_that_a_power_cut_left_as_it_was_makes_it_none(tmp_path, sector):
    data = DATA[:-5000] + os.urandom(5000)
    path = sealed_file(tmp_path, data).path
    content = bytearray(path.read_bytes())
    content[sector : sector + 512] = bytes(512)
    path.write_bytes(content)
    assert receipt.read(path) is None


def test_what_was_not_sealed_or_is_cut_off_has_none(tmp_path):
    incoming = SpoolFiles(tmp_path).open_incoming()
    incoming.write(part10.encode(META) + DATA)
    incoming.flush()
    assert receipt.read(incoming.path) is None
    path = sealed_file(tmp_path).path
    os.truncate(path, path.stat().st_size - 1)
    assert receipt.read(path) is None
    path.write_bytes(b"")
    assert receipt.read(path) is None


def test_room_made_ahead_is_no_part_of_the_object(tmp_path):
    incoming = sealed_file(tmp_path)
    size = incoming.path.stat().st_size
    os.truncate(incoming.path, size + 4096)
    found = receipt.read(incoming.path)
    assert found is not None
    assert found.size_bytes == size
