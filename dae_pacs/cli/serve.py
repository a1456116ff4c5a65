"""`dae-pacs serve`: run the node until it is told to stop."""

import resource
import signal
import threading
from pathlib import Path

from dae_pacs import failpoints
from dae_pacs.config.load import load
from dae_pacs.config.model import Settings
from dae_pacs.log import configure
from dae_pacs.node.answers import answers_of
from dae_pacs.node.lifecycle import Node
from dae_pacs.privacy import log_crashes, seal_process
from dae_pacs.web.process import WebProcess

WATCH_S = 1.0
"""How often the thread that watches all others is itself looked at."""
OPEN_FILES = 4096
"""Objects whose rows are still to come keep their files open (`spool.index.MOST_WAITING`), beside each
association's socket and file; the usual limit of 1,024 is near that."""


def run(*, config: Path | None, model: str | None, port: int | None) -> int:
    """Start the node, wait for SIGTERM or Ctrl-C, stop it.

    Raises:
        ConfigError: the configuration has mistakes.
        DaePacsError: the node can't start; see `Node`.
    """
    settings = _overridden(load(config), model, port)
    seal_process()
    configure(settings.log)
    log_crashes()
    allow_open_files()
    failpoints.arm_from_environment()
    asked_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.set())
    node = Node(settings)
    console = WebProcess(settings, answers_of(node.parts)) if settings.web.enabled else None
    try:
        node.start()
        if console is not None:
            console.keep_running()  # what it lacks may be there later
        while not asked_to_stop.wait(WATCH_S):
            node.keep_running()
            if console is not None:
                console.keep_running()
    finally:
        if console is not None:
            console.stop()
        node.stop()
    return 0


def allow_open_files() -> None:
    """Raise this process's limit on open files to what a busy node needs, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _overridden(settings: Settings, model: str | None, port: int | None) -> Settings:
    if model is not None:
        changed = settings.model.model_copy(update={"name": model})
        settings = settings.model_copy(update={"model": changed})
    if port is not None:
        settings = settings.model_copy(update={"node": settings.node.model_copy(update={"port": port})})
    return settings
