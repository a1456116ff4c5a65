"""`python -m dae_pacs` is `dae-pacs`."""

from dae_pacs.cli.app import main

main()
