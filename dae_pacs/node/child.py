"""What every process that the node spawns does first."""

import os
import threading
from multiprocessing import connection, parent_process


def die_with_the_node() -> None:
    """End this process when the node's ends, however it ends: nobody would read its results."""
    node = parent_process()
    if node is None:
        return

    def watch() -> None:
        connection.wait([node.sentinel])
        os._exit(0)

    threading.Thread(target=watch, name="watch-node", daemon=True).start()
