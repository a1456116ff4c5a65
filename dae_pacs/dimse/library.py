"""The one place where pynetdicom's module-level settings change; called when a service starts."""

import logging
import re
from typing import Final

import pynetdicom
from pynetdicom import _config

from dae_pacs.dimse import contexts
from dae_pacs.errors import ServiceError

_TRIED: Final = ((3, 0, 4), (3, 1))
"""From which version on, and before which, `acceptor` knows pynetdicom from the inside."""


def prepare() -> None:
    """Set pynetdicom up for this process; harmless when repeated.

    Raises:
        ServiceError: another pynetdicom is installed than those that we were tried with.
    """
    refuse_unknown_version(pynetdicom.__version__)
    # Its standard handlers build a log text for every PDU and DIMSE message, whether anyone reads it or not,
    # and those texts carry UIDs and identifiers.
    _config.LOG_HANDLER_LEVEL = "none"
    # It logs exceptions with the values that caused them; what an operator needs is in our own lines.
    # Whoever set a level for debugging keeps it.
    logger = logging.getLogger("pynetdicom")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    contexts.register()


def refuse_unknown_version(version: str) -> None:
    """Refuse a pynetdicom whose inside may differ from the one that we use.

    Raises:
        ServiceError: it is older or newer than those that we were tried with.
    """
    oldest, first_unknown = _TRIED
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    if not oldest <= numbers < first_unknown:
        raise ServiceError(
            f"pynetdicom {version} is installed; this dae-pacs works with 3.0.4 and later of 3.0. "
            "Install one of those: pip install 'pynetdicom>=3.0.4,<3.1'"
        )
