"""`dae-pacs spool repair`: rebuild the ledger from the files."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from dae_pacs.cli.failures import OK
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.node.bell import Bell
from dae_pacs.node.receive import Receiver
from dae_pacs.spool import repair
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.ledger import Ledger
from dae_pacs.spool.reconcile import Adopt
from dae_pacs.spool.repair import Repaired

_PLAN = (
    "It would be set aside in the spool folder, under a name that says so, and a new one made from the "
    "files: {objects} object(s) in objects/ are recorded again, their jobs planned by the rules as they are; "
    "{derived} derived object(s) are deleted and made again. Stop the node, and do it with: "
    "dae-pacs spool repair --yes"
)
_UNCERTAIN = (
    "What can't be known: which derived objects their destinations have already (they are made and sent "
    "again, under the same UIDs, which is harmless), which objects retention had deleted, failed jobs and "
    "given-up deliveries (they begin anew), and open requests for storage commitment. "
    "The old ledger is kept; delete it when all is well."
)


def run(*, config: Path | None, is_confirmed: bool) -> int:
    """Say what is wrong with the ledger and, if that is wished, put it right.

    Raises:
        ConfigError: settings are wrong.
        SpoolError: the spool can't be used, or a node runs on it.
    """
    settings = load(config)
    console = Console(soft_wrap=True, highlight=False)
    files = SpoolFiles(settings.node.spool)
    with files.hold():
        finding = repair.finding(files)
        if not finding:
            console.print("The ledger is sound: nothing to repair.", markup=False)
            return OK
        console.print(finding, markup=False)
        if not is_confirmed:
            plan = _PLAN.format(objects=_count(files.objects), derived=_count(files.derived))
            console.print(plan, markup=False)
            return OK
        done = repair.rebuild(files, adopt_into=lambda ledger: _adopt_into(ledger, files, settings))
    console.print(_table(done))
    console.print(_UNCERTAIN, markup=False)
    return OK


def _adopt_into(ledger: Ledger, files: SpoolFiles, settings: Settings) -> Adopt:
    return Receiver(files, ledger, settings.rules, settings.model, Bell()).adopt


def _count(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.dcm"))


def _table(done: Repaired) -> Table:
    table = Table("Repaired", "", title_justify="left")
    table.add_row(
        "old ledger, set aside", ", ".join(path.name for path in done.set_aside) or "there was none"
    )
    table.add_row("objects recorded again", str(done.adopted))
    table.add_row("of these, known to be delivered as they came", str(done.delivered))
    table.add_row("files not whole, now in quarantine", str(done.quarantined))
    table.add_row("derived and unfinished files deleted", str(done.swept))
    return table
