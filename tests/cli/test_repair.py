"""A ledger that is damaged or gone is rebuilt from the files; the old one is set aside."""

import sqlite3

import pytest

from dae_pacs import part10
from dae_pacs.cli.repair import run
from dae_pacs.demo.phantoms import Study, ct_series
from dae_pacs.errors import SpoolError
from dae_pacs.part10 import FileMeta
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.receipt import Receipt

CONFIGURATION = """
[node]
spool = "spool"

[peers.pacs]
ae_title = "PACS"
host = "127.0.0.1"
port = 4242

[[rules]]
name = "all"
action = "forward"
destinations = ["pacs"]
"""


def kept(files, folder, ds, *, has_receipt=True):
    path = folder / "one.dcm"
    ds.save_as(path, enforce_file_format=True)
    whole = path.read_bytes()
    incoming = files.open_incoming()
    meta = FileMeta(ds.SOPClassUID, ds.SOPInstanceUID, ds.file_meta.TransferSyntaxUID)
    incoming.write(part10.encode(meta, calling_ae="CT1", called_ae="DAE_PACS"))
    incoming.write(whole[144 + int.from_bytes(whole[140:144], "little") :])
    incoming.seal(Receipt("CT1", "DAE_PACS", "127.0.0.1", "a1", 100.0, 1, ""))
    incoming.flush()
    target = files.settle(
        incoming, SOPInstanceUID=meta.SOPInstanceUID, transfer_syntax_uid=meta.transfer_syntax_uid
    )
    if not has_receipt:
        target.write_bytes(whole)
    return target


@pytest.fixture
def site(tmp_path):
    """A spool of three objects, one of them from before there were receipts, whose ledger is gone."""
    (tmp_path / "dae-pacs.toml").write_text(CONFIGURATION)
    files = SpoolFiles(tmp_path / "spool")
    for number, ds in enumerate(ct_series(Study(), slices=3, size=32)):
        kept(files, tmp_path, ds, has_receipt=number > 0)
    return tmp_path


def repair(site, *, is_confirmed=True):
    return run(config=site / "dae-pacs.toml", is_confirmed=is_confirmed)


def ledger_of(site):
    return Ledger(site / "spool" / "ledger.sqlite")


def test_ledger_that_is_gone_is_made_from_the_files_once_that_is_confirmed(site, capsys):
    with pytest.raises(SpoolError, match="spool repair"):
        ledger_of(site)
    repair(site, is_confirmed=False)
    assert "3 object(s)" in capsys.readouterr().out
    assert not (site / "spool" / "ledger.sqlite").exists()
    repair(site)
    assert "there was none" in capsys.readouterr().out
    with ledger_of(site) as ledger:
        assert ledger.counts()["instances"] == {"received kept": 3}
        assert ledger.counts()["deliveries"] == {"waiting": 3}
    repair(site)
    assert "nothing to repair" in capsys.readouterr().out


def test_damaged_ledger_is_set_aside_and_what_it_still_knows_is_not_sent_again(site):
    repair(site)
    path = site / "spool" / "ledger.sqlite"
    with sqlite3.connect(path, isolation_level=None) as beside:
        beside.execute("UPDATE deliveries SET status = 'sending' WHERE id = 1")
        beside.execute("UPDATE deliveries SET status = 'delivered', delivered_at = 7 WHERE id = 1")
        beside.execute("PRAGMA application_id = 1")
    beside.close()
    with pytest.raises(SpoolError, match="another program"):
        ledger_of(site)
    repair(site)
    with ledger_of(site) as ledger:
        assert ledger.counts()["deliveries"] == {"delivered": 1, "waiting": 2}
    assert len(list((site / "spool").glob("ledger.sqlite.*.damaged"))) == 1


def test_ledger_of_noise_is_rebuilt_and_a_torn_object_is_set_apart(site, capsys):
    files = SpoolFiles(site / "spool")
    files.ledger_path.write_bytes(b"noise" * 5000)
    torn = kept(files, site, ct_series(Study(), slices=1, size=32)[0])
    torn.write_bytes(torn.read_bytes()[:-1] + b"\xff")
    repair(site)
    with ledger_of(site) as ledger:
        assert ledger.counts()["instances"] == {"received kept": 3}
    assert [path.name for path in files.quarantine.iterdir()] == [torn.name]
    assert "what can't be known" in capsys.readouterr().out.lower()


def test_spool_of_a_running_node_is_left_alone(site):
    with SpoolFiles(site / "spool").hold(), pytest.raises(SpoolError, match="in use by another node"):
        repair(site)
