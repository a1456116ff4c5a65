"""Who we are on the wire and in files (PS3.7 D.3.3.2, PS3.10 table 7.1-1)."""

from typing import Final

from dae_pacs import __version__

IMPLEMENTATION_CLASS_UID: Final = "2.25.289667033317874007755051206102639872945"
"""Our own, from a random UUID (PS3.5 B.2)."""
IMPLEMENTATION_VERSION_NAME: Final = f"DAE_PACS_{__version__}"[:16]
"""VR SH: at most 16 characters."""
