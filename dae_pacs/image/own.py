"""Recognise what we made, wherever it went in between, by its Contributing Equipment (PS3.3 C.12.1.1.5)."""

from pydicom.dataset import Dataset

from dae_pacs.image import peek

MANUFACTURER = "dae-pacs"
# Purposes of reference, CID 7005.
ACQUISITION_EQUIPMENT = "109101"
PROCESSING_EQUIPMENT = "109102"


def is_own(ds: Dataset) -> bool:
    """Say whether this product has already worked on an object."""
    return any(
        purpose_of(item) == PROCESSING_EQUIPMENT and peek.string(item, "Manufacturer") == MANUFACTURER
        for item in peek.items(ds, "ContributingEquipmentSequence")
    )


def purpose_of(item: Dataset) -> str:
    """Return the code value of an item's purpose of reference, or ""."""
    return next(
        (peek.string(code, "CodeValue") for code in peek.items(item, "PurposeOfReferenceCodeSequence")), ""
    )
