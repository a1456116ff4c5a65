from pathlib import Path

from dae_pacs.cli import states
from dae_pacs.spool.destinations import Breaker
from dae_pacs.spool.states import DeliveryStatus, ImageStatus, InstanceStatus, JobStatus

DOCUMENT = Path(__file__).parents[2] / "docs" / "statuses.md"


def test_the_document_is_what_the_code_says() -> None:
    assert DOCUMENT.read_text() == states.reference().rstrip("\n") + "\n", (
        "stale: python -m dae_pacs.cli.states > docs/statuses.md"
    )


def test_every_status_has_its_words() -> None:
    told = (
        (states.INSTANCE_WORDS, InstanceStatus),
        (states.JOB_WORDS, JobStatus),
        (states.IMAGE_WORDS, ImageStatus),
        (states.DELIVERY_MEANINGS, DeliveryStatus),
        (states.BREAKER_WORDS, Breaker),
    )
    for words, kind in told:
        assert set(words) == set(kind)
