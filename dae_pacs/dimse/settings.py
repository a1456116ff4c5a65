"""How the storage SCP listens, and the bounds of what a stranger may make it hold, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ScpSettings:
    """How the SCP listens."""

    ae_title: str
    bind: str = "127.0.0.1"
    port: int = 11112
    max_associations: int = 20
    max_associations_per_address: int = 10
    max_pdu_bytes: int = 131072
    """The longest P-DATA-TF PDU that we ask for, and take."""
    max_object_bytes: int = 16 << 30
    association_timeout_s: float = 15.0
    """From a connection to its whole association request (ARTIM, PS3.8 9.1.5)."""
    pdu_timeout_s: float = 30.0
    """From a PDU's first byte to its last."""
    dimse_timeout_s: float = 30.0
    """Silence inside a message, and how long a peer may take to read our answer."""
    network_timeout_s: float = 60.0
    """Silence between messages."""
    object_timeout_s: float = 3600.0
    """From the first byte of a message's command to its last byte."""
