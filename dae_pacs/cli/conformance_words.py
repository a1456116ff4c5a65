"""What the conformance statement says of each rule and status: words for the code's own tables."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from dae_pacs.dimse import commitment, statuses

ANSWERS: Mapping[int, str] = MappingProxyType(
    {
        statuses.SUCCESS: "The object is on stable storage and recorded, or was so before.",
        statuses.OUT_OF_RESOURCES: "The spool's disk is full or refuses, or the object is larger than "
        "`node.max_object_mb`. Nothing is kept; send again later.",
        statuses.MISMATCH: "SOP Class or Instance UID of the command and of the data set differ.",
        statuses.CANNOT_UNDERSTAND: "There is no data set, or it can't be parsed or is cut off; or a UID of "
        "the command is missing, malformed or longer than 64 characters. A leading zero in a component "
        "is accepted, and noted with the object.",
        statuses.PROCESSING_FAILURE: "The node fails or is stopping. Nothing is kept; send it again later.",
        statuses.DUPLICATE_INSTANCE: "Another object of that UID, with other content, was kept before. "
        "The new one is in quarantine.",
        statuses.CLASS_NOT_SUPPORTED: "Affected SOP Class UID is not the presentation context's.",
    }
)
"""What the node answers to a C-STORE, and when."""

OUTCOMES: Mapping[str, str] = MappingProxyType(
    {
        "sent": "delivered",
        "warning": "delivered; the warning is kept and shown",
        "retry": "sent again, after pauses that double from 1 s to 300 s, also across restarts",
        "dead": "given up and listed; a person may retry it",
    }
)
"""What becomes of a delivery, by the outcome that a status stands for."""

VERDICT_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ASK_AGAIN": "asked again after a pause, under a new Transaction UID",
        "SEND_AGAIN": "sent again after a pause, then asked again",
        "GIVE_UP": "given up and listed; a person may retry or drop it",
    }
)
"""What follows when a peer does not commit itself to an object."""

REPORT_ANSWERS: Mapping[int, str] = MappingProxyType(
    {
        statuses.SUCCESS: "The report is recorded.",
        statuses.PROCESSING_FAILURE: "The Transaction UID is none of ours, or the ledger can't be written.",
        commitment.NO_SUCH_INSTANCE: "Affected SOP Instance UID is not the well-known one; or an object was "
        "never sent there (those that were are recorded).",
        commitment.NO_SUCH_EVENT_TYPE: "Event Type ID is neither 1 nor 2.",
        commitment.INVALID_ARGUMENT: "The data set is cut off or malformed.",
        commitment.NO_SUCH_CLASS: "Affected SOP Class UID is not Storage Commitment Push Model.",
        statuses.RESOURCE_LIMITATION: "The report is longer than 1 MiB.",
    }
)
"""What the node answers to a report on storage commitment."""

CHANGES: Mapping[str, str] = MappingProxyType(
    {
        "SOPInstanceUID": "UUID-derived (2.25.), the digest of source UID and content, model and settings",
        "SeriesInstanceUID": "UUID-derived (2.25.), the digest of source series, model and settings",
        "ConcatenationUID": "UUID-derived (2.25.), where the source has one",
        "SeriesNumber": "the first that is free in the study, from the source's plus 1000",
        "SeriesDescription": "the rule's template: by default the source's and `denoised s=0.7`",
        "InstanceCreationDate": "of the derivation, in the object's time zone",
        "InstanceCreationTime": "of the derivation, in the object's time zone",
        "ContentDate": "of the derivation, where the source has one",
        "ContentTime": "of the derivation, where the source has one",
        "ImageType": "value 1 DERIVED; value 2 SECONDARY (the source's for NM, PET and functional group "
        "objects); values 3 and further the source's",
        "DerivationDescription": "what the source said, then what was done: version, model, strength",
        "DerivationCodeSequence": "the source's, then (113087, DCM, Smoothing) and the URN of annex 9.3",
        "SourceImageSequence": "the source; purpose (121322, DCM, Source image for image processing "
        "operation)",
        "SourceImageEvidenceSequence": "the source's and the source, for functional group objects",
        "ContributingEquipmentSequence": "the source's, the acquisition's (109101) where it is not named, "
        "and dae-pacs (109102) with model, version, strength and the SHA-256 of the weights",
        "LossyImageCompression": "01 where the source was ever compressed with loss, never reset",
        "LossyImageCompressionMethod": "the source's, or that of its transfer syntax",
        "LossyImageCompressionRatio": "the source's, or that of its pixel data",
        "HighBit": "Bits Stored - 1",
        "SmallestImagePixelValue": "recomputed, where the source has it",
        "LargestImagePixelValue": "recomputed, where the source has it",
        "RescaleIntercept": "moved so that the decoded value is what was removed, where the class "
        "lets it move",
        "WindowCenter": "what decodes as zero",
        "WindowWidth": "twelve standard deviations of the series' noise",
        "VOILUTFunction": "LINEAR_EXACT where the window is narrower than 2, else absent",
    }
)
"""What a derived object holds, for each element that a rule changes."""


def outcomes() -> Iterator[tuple[str, str, str]]:
    """Tell of each status of a C-STORE response what it means and what becomes of the delivery."""
    named = {value for name, value in vars(statuses).items() if name.isupper() and isinstance(value, int)}
    ranges = {0xA700: "A700 to A7FF", 0xA900: "A900 to A9FF", 0xC000: "C000 to CFFF"}
    for status in sorted(named):
        yield ranges.get(status, f"{status:04X}"), meaning(status), _outcome(status)
    yield "other Bxxx", meaning(0xB123), _outcome(0xB123)
    yield "any other", meaning(0x0123), _outcome(0x0123)


def meaning(status: int) -> str:
    """Say what a status of DIMSE means, in words."""
    return statuses.describe(status).partition("(")[2].rstrip(")")


def _outcome(status: int) -> str:
    return OUTCOMES[statuses.classify(status).value]
