"""The configuration of the demo's node."""

from dae_pacs.demo.pacs import Pacs
from dae_pacs.dimse.addresses import PeerAddress

TEMPLATE = """\
# Written by dae-pacs demo.

[node]
ae_title = "{node.ae_title}"
port = {node.port}
spool = "spool"
minimum_free_mb = 50

[peers.pacs]
ae_title = "{pacs.ae_title}"
host = "{pacs.host}"
port = {pacs.port}

# Where no PACS passes the images on, the modality sends them itself.
[senders.modality]
ae_title = "MODALITY"
addresses = "127.0.0.1"

[[rules]]
name = "images"
when = {{ Modality = ["CR", "DX", "CT"] }}
destinations = ["pacs"]
forward_original = {forward_original}
"""


def node_configuration(node: PeerAddress, pacs: Pacs) -> str:
    """Write the node's TOML; where the PACS does not route, the node passes the originals on to it."""
    return TEMPLATE.format(node=node, pacs=pacs.address, forward_original=str(not pacs.routes).lower())
