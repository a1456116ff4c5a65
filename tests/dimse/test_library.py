import logging
import subprocess
import sys

from pynetdicom import _config

from dae_pacs.dimse.library import prepare


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
