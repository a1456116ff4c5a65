"""The pages whose every block is run, in this order, one after the other in one folder: test_pages.py."""

RUN_IN_ORDER = (
    "tutorial.md",
    "where-is-my-study.md",
    "orthanc.md",
    "modality.md",
    "tls.md",
    "upgrade-a-model.md",
    "full-disk.md",
    "backup.md",
    "console.md",
)
