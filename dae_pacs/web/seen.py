"""How the worker stands, for the pages that say so: a few of the node's figures."""

from dataclasses import dataclass
from typing import Final

from dae_pacs.denoise.protocol import DeviceState
from dae_pacs.errors import ServiceError
from dae_pacs.node.asking import Figures
from dae_pacs.web.context import Context

_PATIENCE_S: Final = 2.0


@dataclass(frozen=True)
class Seen:
    """How the worker stands."""

    starts: int
    """Worker processes since the node started."""
    has_spoken: bool
    """Whether the worker of now has said how it stands; until then it is starting."""
    model: str
    """That the node was started with."""
    version: str
    digest: str
    """"" while no model is loaded."""
    device: DeviceState | None
    reason: str
    """Why no model is loaded."""


def look(context: Context) -> Seen | None:
    """Ask how the worker stands; None where the node does not answer."""
    try:
        worked = context.desk.ask(Figures(), timeout_s=_PATIENCE_S).worked
    except ServiceError:
        return None
    loaded = worked.loaded
    identity = loaded.identity if loaded is not None else None
    return Seen(
        starts=worked.starts,
        has_spoken=loaded is not None,
        model=loaded.model if loaded is not None else context.settings.model.name,
        version=identity.version if identity is not None else "",
        digest=identity.digest if identity is not None else "",
        device=loaded.device if loaded is not None else None,
        reason=loaded.reason if loaded is not None else "",
    )
