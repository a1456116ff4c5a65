"""Someone who works through a page: types its commands, saves its files, compares what comes with it.

What is done to the text before: the ports of the documents become free ones. Nothing else.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from snippets import ROOT, Snippet

TIMEOUT_S = 240.0
PORTS = ("11112", "4242", "8042", "8104", "2762", "4243", "8043", "11113")


class Reader:
    """One person with a home folder, a working folder, and programs that run in other terminals."""

    def __init__(self, home: Path, *, ports: Mapping[str, str]) -> None:
        self._home = home
        self._folder_note = home / ".folder"
        self._ports = dict(ports)
        self._running: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._environment = os.environ | {
            "HOME": str(home),
            "PATH": _path(),
            "MPLCONFIGDIR": os.environ.get("MPLCONFIGDIR", str(Path.home() / ".config" / "matplotlib")),
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }
        (home / "dae-pacs").symlink_to(ROOT)
        self._folder_note.write_text(str(home))

    @property
    def folder(self) -> Path:
        """The folder that the last command left us in."""
        return Path(self._folder_note.read_text().strip())

    def take(self, snippet: Snippet) -> None:
        """Do what one block says, and fail where it does not come as shown."""
        text = re.sub(rf"\b({'|'.join(self._ports)})\b", lambda found: self._ports[found[0]], snippet.text)
        if snippet.mark == "not run":
            return
        if snippet.mark in ("file", "append"):
            path = self.folder / snippet.words
            before = path.read_text() + "\n" if snippet.mark == "append" else ""
            path.write_text(before + text)
        elif snippet.mark == "ctrl-c":
            _end(self._running.pop(snippet.words)[0])
        elif snippet.mark == "background":
            self._start(text, until=snippet.words, where=str(snippet))
        elif snippet.language == "sh":
            self._run(text, fails=snippet.mark == "fails", where=str(snippet))
        elif snippet.language == "console":
            self._converse(text, mark=snippet.mark, where=str(snippet))
        elif snippet.language == "python":
            (self.folder / "snippet.py").write_text(text)
            self._run("python snippet.py", fails=False, where=str(snippet))

    def close(self) -> None:
        """End every program that was left running."""
        for process, _ in self._running.values():
            _end(process)
        self._running.clear()

    def _converse(self, text: str, *, mark: str | None, where: str) -> None:
        """Type each command of a `console` block, and look for the lines shown below it in its output."""
        for part in re.split(r"^\$ ", text.replace("\\\n", " "), flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            deadline = time.monotonic() + TIMEOUT_S
            while True:
                said = self._run(command, fails=mark == "fails", where=where)
                missing = [line for line in shown if line.strip() and not _is_in(line, said)]
                if not missing:
                    break
                may_come = mark == "again" and time.monotonic() < deadline
                assert may_come, f"{where}: $ {command}\nshould say: {missing}\nand says:\n{said}"
                time.sleep(0.5)

    def _run(self, script: str, *, fails: bool, where: str) -> str:
        script = f"set -eo pipefail\ntrap 'pwd > {self._folder_note}' EXIT\n{script}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert bool(done.returncode) == fails, f"{where}: code {done.returncode}\n{script}\n{said}"
        return said

    def _start(self, command: str, *, until: str, where: str) -> None:
        log = self._home / f"terminal-{len(self._running) + 1}.log"
        if (name := command.rsplit(maxsplit=1)[-1]) in self._running:  # the page says: start it again
            _end(self._running.pop(name)[0])
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running[name] = (process, log)
        deadline = time.monotonic() + TIMEOUT_S
        while until not in log.read_text(errors="replace"):
            is_waiting = process.poll() is None and time.monotonic() < deadline
            assert is_waiting, f"{where}: it does not say {until!r}:\n{log.read_text(errors='replace')}"
            time.sleep(0.05)


def _path() -> str:
    """Give the path that the tutorial sets: the system's programs first, since DCMTK's share our names."""
    ours = str(Path(sys.executable).parent)
    system = [folder for folder in os.environ["PATH"].split(":") if folder != ours]
    return ":".join([*system, ours, "/usr/sbin"])


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program as Ctrl-C in its terminal does."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _is_in(line: str, said: str) -> bool:
    """Tell whether a shown line came; `...` stands for anything, and white space for any other."""
    pattern = r".*".join(r"\s+".join(map(re.escape, part.split())) for part in line.split("..."))
    return any(re.search(pattern, real) for real in said.splitlines())
