import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from dae_pacs.cli.app import main
from dae_pacs.dimse.scp import Answer, Incoming, ScpSettings, StorageSCP


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _nothing_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restored_logging: None) -> None:
    for name in list(os.environ):
        if name.upper().startswith("DAE_PACS_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `dae-pacs` with arguments, in this process, as its entry point does."""

    def command(*arguments: str | Path) -> Ran:
        monkeypatch.setattr(sys, "argv", ["dae-pacs", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return command


class ArrivedFile(BytesIO):
    """Keeps what arrives in memory."""

    def discard(self) -> None:
        self.close()


@pytest.fixture
def archive() -> Iterator[tuple[StorageSCP, list[Incoming]]]:
    """A real storage SCP that keeps all it gets, save objects whose UID ends in .13."""
    arrived: list[Incoming] = []

    def keep(incoming: Incoming) -> Answer:
        if incoming.SOPInstanceUID.endswith(".13"):
            return Answer(0xA700, "out of resources")
        arrived.append(incoming)
        return Answer(0x0000)

    scp = StorageSCP(
        ScpSettings(ae_title="ARCHIVE", port=0),
        open_file=ArrivedFile,
        keep=keep,
        association_ended=lambda _: None,
    )
    scp.start()
    yield scp, arrived
    scp.stop()
