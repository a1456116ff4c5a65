"""A Ray cluster in the place of the node's own device. The only place with Ray; docs/cluster.md."""
