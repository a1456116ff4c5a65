"""Objects that another process of ours writes into the spool, for the node to keep: STOW-RS uploads.

The process that listens to HTTP writes incoming/<name>.upload, flushes it and tells the node the name. The
node takes it over under a name of its own, takes the check value anew, and goes on as with any object. What
still bears the suffix belongs to nobody but a process that is at work on it.
"""

import re
import secrets
import time
from pathlib import Path
from typing import Final

from dae_pacs.errors import SpoolError
from dae_pacs.spool.files import SpoolFiles
from dae_pacs.spool.incoming import IncomingFile, spool_error

SUFFIX: Final = ".upload"
_NAME: Final = re.compile(r"[0-9a-f]{32}" + re.escape(SUFFIX))
ABANDONED_S: Final = 2 * 3600.0
"""An upload that nothing was written to for so long is nobody's."""


def open_upload(files: SpoolFiles) -> IncomingFile:
    """Open a file for an object that comes over HTTP.

    Raises:
        SpoolError: the disk refuses.
    """
    return IncomingFile(files.incoming / f"{secrets.token_hex(16)}{SUFFIX}")


def take_over(files: SpoolFiles, name: str) -> IncomingFile:
    """Make an upload that is whole an incoming object of this process.

    Args:
        files: of the spool.
        name: of the file, in incoming/.

    Raises:
        SpoolError: there is no such upload, or the disk refuses.
    """
    if not _NAME.fullmatch(name):
        raise SpoolError("an upload was announced under a name that is none; nothing of it is kept")
    target = files.incoming / f"{Path(name).stem}.dcm"
    try:
        (files.incoming / name).rename(target)
    except OSError as error:
        raise spool_error(error, "taking over an upload") from error
    try:
        return IncomingFile.reopened(target)
    except SpoolError:
        target.unlink(missing_ok=True)
        raise


def sweep(files: SpoolFiles, *, older_than_s: float = 0.0) -> int:
    """Delete uploads, and copies made for a retrieval, that nobody is at work on; says how many.

    Args:
        files: of the spool.
        older_than_s: spare what was written to since; 0 while no process takes uploads.

    Raises:
        SpoolError: the disk refuses.
    """
    count, now = 0, time.time()
    try:
        # Copies of a moment are made by the node, too: only old ones are surely nobody's.
        left = [path for suffix in (SUFFIX, ".tmp") for path in files.incoming.glob(f"*{suffix}")]
        for path in left:
            try:
                age_s = older_than_s if path.suffix == SUFFIX else max(older_than_s, ABANDONED_S)
                if age_s and path.stat().st_mtime > now - age_s:
                    continue
                path.unlink()
            except FileNotFoundError:
                continue  # taken over meanwhile
            count += 1
    except OSError as error:
        raise spool_error(error, "deleting abandoned uploads") from error
    return count
