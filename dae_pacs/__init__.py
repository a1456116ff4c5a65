"""dae-pacs: a denoising node beside a PACS, and the trainer that fits it to a site's own images."""

__version__ = "0.1.0"
