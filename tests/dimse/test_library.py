import logging
import subprocess
import sys

import pytest
from pynetdicom import _config

from dae_pacs.dimse.library import prepare, refuse_unknown_version
from dae_pacs.errors import ServiceError


def test_importing_changes_nothing_in_pynetdicom_and_needs_no_torch() -> None:
    program = (
        "import logging, sys; from pynetdicom import _config; import dae_pacs.dimse.scp, dae_pacs.dimse.scu; "
        "assert _config.LOG_HANDLER_LEVEL == 'standard'; "
        "assert logging.getLogger('pynetdicom').level == logging.NOTSET; "
        "assert not {'torch', 'monai', 'SimpleITK', 'sqlite3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_prepared_pynetdicom_writes_no_messages_but_keeps_a_level_that_was_set() -> None:
    logger = logging.getLogger("pynetdicom")
    before = logger.level
    try:
        logger.setLevel(logging.NOTSET)
        prepare()
        assert _config.LOG_HANDLER_LEVEL == "none"
        assert logger.level == logging.CRITICAL
        logger.setLevel(logging.DEBUG)
        prepare()
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


@pytest.mark.parametrize("version", ["3.0.3", "2.1.1", "3.1.0", "4.0.0.dev0", "unknown"])
def test_pynetdicom_that_we_do_not_know_is_refused_at_the_start(version: str) -> None:
    with pytest.raises(ServiceError, match=r"this dae-pacs works with 3\.0\.4"):
        refuse_unknown_version(version)


def test_pynetdicom_that_we_know_is_taken() -> None:
    for version in ("3.0.4", "3.0.10"):
        refuse_unknown_version(version)
