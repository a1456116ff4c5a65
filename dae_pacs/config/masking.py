"""Keep credentials out of what is said of a wrong setting: such words end in logs and in tickets."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MASK: Final = "***"

_CREDENTIALS: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://).*@|[^\s/@:]+:\S*@", re.DOTALL)
"""What stands before a host (RFC 3986 3.2.1): after a scheme all of it, without one where it has a colon. A
password may hold what should have been encoded, so it is taken to end at the last @."""

_SECRET: Final = re.compile(r"secret|passw|passphrase|pwd|token|credential|api_?key", re.IGNORECASE)


def is_secret(name: object) -> bool:
    """Tell whether a setting of that name may hold a credential, be it misplaced."""
    return isinstance(name, str) and _SECRET.search(name) is not None


def masked(value: object) -> object:
    """Give a value of a setting without credentials: in URLs, and below names that say they hold one."""
    match value:
        case str():
            return _CREDENTIALS.sub(lambda found: f"{found['scheme'] or ''}{MASK}@", value)
        case Path():
            return masked(str(value))
        case Mapping():
            return {key: MASK if is_secret(key) else masked(entry) for key, entry in value.items()}
        case list() | tuple():
            return [masked(entry) for entry in value]
        case _:
            return value
