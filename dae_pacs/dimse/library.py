"""The one place where pynetdicom's module-level settings change; called when a service starts or sends."""

import logging

from pynetdicom import _config

from dae_pacs.dimse import contexts


def prepare() -> None:
    """Set pynetdicom up for this process; harmless when repeated."""
    # Its standard handlers build a log text for every PDU and DIMSE message, whether anyone reads it or not,
    # and those texts carry UIDs and identifiers.
    _config.LOG_HANDLER_LEVEL = "none"
    # It logs exceptions with the values that caused them; what an operator needs is in our own lines.
    # Whoever set a level for debugging keeps it.
    logger = logging.getLogger("pynetdicom")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    contexts.register()
