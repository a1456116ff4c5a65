"""`dae-pacs retry`: requeue what failed."""

import time
from pathlib import Path

from rich.console import Console

from dae_pacs.audit.codes import USE_OF_RESTRICTED_FUNCTION
from dae_pacs.cli.auditing import tell
from dae_pacs.cli.failures import OK
from dae_pacs.cli.spool import open_ledger
from dae_pacs.config.load import load


def run(*, config: Path | None, study: str | None) -> int:
    """Requeue failed jobs and given-up deliveries, of one study or of all; a running node takes them up.

    Raises:
        ConfigError: settings are wrong.
        SpoolError: there is no ledger, it can't be used, or it has no such study.
    """
    settings = load(config)
    with open_ledger(settings) as ledger:
        if study is not None:
            ledger.study_story(study)  # refuses, in words, a study that the ledger does not have
        retried = ledger.retry(study=study, now=time.time())
    words = (
        f"Requeued: {retried.jobs} job(s) with {retried.images} image(s), {retried.deliveries} deliveries."
    )
    scope = f"study {study}" if study else "all studies"
    tell(settings, USE_OF_RESTRICTED_FUNCTION, f"dae-pacs retry, {scope}. {words}")
    is_empty = not (retried.jobs or retried.images or retried.deliveries)
    Console(soft_wrap=True).print(
        "Nothing to retry: no job failed, no delivery was given up." if is_empty else words
    )
    return OK
