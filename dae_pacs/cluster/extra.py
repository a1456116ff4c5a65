"""Whether the optional extra is installed, and how Ray is begun with. Importing this costs no Ray."""

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dae_pacs.config.compute import ComputeSettings
from dae_pacs.errors import ClusterError

if TYPE_CHECKING:
    from dae_pacs.cluster.foreman import Foreman

_HEAD_AWAY_S: Final = 20
"""Ray ends a process whose question to the head found no ear for so long (its default is 60). We ask nothing
once the head is seen to be away, and leave; one question may have been on its way just then."""


def check_installed() -> None:
    """Do nothing where Ray is installed.

    Raises:
        ClusterError: it is not.
    """
    if find_spec("ray") is None:
        raise ClusterError(
            "compute.engine is \"ray\", but Ray is not installed here: pip install 'dae-pacs[cluster]' "
            '(on every machine of the cluster, too), or set compute.engine to "local".'
        )


def start(settings: ComputeSettings) -> "Foreman":
    """Begin with Ray in this process, which can do so for one cluster.

    Raises:
        ClusterError: Ray is not installed. Whether the cluster is there shows with the first batch.
    """
    check_installed()
    # Ray reads its environment once, when `link` imports it.
    if settings.token is not None:
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(settings.token)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_gcs_rpc_server_reconnect_timeout_s"] = str(_HEAD_AWAY_S)  # noqa: SIM112  so it is called
    from dae_pacs.cluster.foreman import Foreman  # noqa: PLC0415

    return Foreman(settings)
