"""What the node accepts, as data: storage SOP classes and transfer syntaxes, in our order of preference.

The acceptor's order decides (PS3.8 9.3.3.2 leaves the choice to it), and pynetdicom takes the first of the
acceptor's list that was proposed. Explicit VR little endian stands first: with implicit first, a sender that
offers both converts its objects, and the bytes that we keep are no longer the ones it holds.
"""

from functools import cache

from pydicom.uid import UID
from pynetdicom import sop_class
from pynetdicom.presentation import AllStoragePresentationContexts, PresentationContext, build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import register_uid, uid_to_service_class

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"  # PS3.4 A.4
COMMITMENT = "1.2.840.10008.1.20.1"  # PS3.4 J.3, Storage Commitment Push Model
COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"  # PS3.4 J.3.5, its well-known instance

_UNCOMPRESSED = (
    EXPLICIT_LITTLE_ENDIAN,
    IMPLICIT_LITTLE_ENDIAN,
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian, retired
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.1.98",  # Encapsulated Uncompressed Explicit VR Little Endian
)
_LOSSLESS = (
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless, process 14
    "1.2.840.10008.1.2.4.201",  # HTJ2K Lossless
    "1.2.840.10008.1.2.4.202",  # HTJ2K Lossless, RPCL
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.92",  # JPEG 2000 multi-component Lossless
    "1.2.840.10008.1.2.4.110",  # JPEG XL Lossless
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.8.1",  # Deflated Image Frame Compression
)
_LOSSY = (
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.93",  # JPEG 2000 multi-component
    "1.2.840.10008.1.2.4.203",  # HTJ2K
    "1.2.840.10008.1.2.4.111",  # JPEG XL JPEG Recompression
    "1.2.840.10008.1.2.4.112",  # JPEG XL
)
_VIDEO = (
    "1.2.840.10008.1.2.4.100",  # MPEG2 Main Profile, Main Level
    "1.2.840.10008.1.2.4.100.1",
    "1.2.840.10008.1.2.4.101",  # MPEG2 Main Profile, High Level
    "1.2.840.10008.1.2.4.101.1",
    "1.2.840.10008.1.2.4.102",  # MPEG-4 AVC/H.264 High Profile, Level 4.1
    "1.2.840.10008.1.2.4.102.1",
    "1.2.840.10008.1.2.4.103",  # MPEG-4 AVC/H.264 BD-compatible
    "1.2.840.10008.1.2.4.103.1",
    "1.2.840.10008.1.2.4.104",  # MPEG-4 AVC/H.264 Level 4.2, 2D
    "1.2.840.10008.1.2.4.104.1",
    "1.2.840.10008.1.2.4.105",  # MPEG-4 AVC/H.264 Level 4.2, 3D
    "1.2.840.10008.1.2.4.105.1",
    "1.2.840.10008.1.2.4.106",  # MPEG-4 AVC/H.264 Stereo
    "1.2.840.10008.1.2.4.106.1",
    "1.2.840.10008.1.2.4.107",  # HEVC/H.265 Main
    "1.2.840.10008.1.2.4.108",  # HEVC/H.265 Main 10
)

TRANSFER_SYNTAXES = _UNCOMPRESSED + _LOSSLESS + _LOSSY + _VIDEO
"""Accepted transfer syntaxes, the most wanted first.

Not here: the JPIP syntaxes, whose pixels lie behind a URL, and SMPTE ST 2110, whose pixels are a live stream:
an object in those is not wholly in our hands, so it can't be kept.
"""

# PS3.4 B.6: retired storage SOP classes, which old archives still send. Keyword: UID (PS3.6 Table A-1).
_RETIRED = {
    "HardcopyGrayscaleImageStorage": "1.2.840.10008.5.1.1.29",
    "HardcopyColorImageStorage": "1.2.840.10008.5.1.1.30",
    "UltrasoundMultiFrameImageStorageRetired": "1.2.840.10008.5.1.4.1.1.3",
    "NuclearMedicineImageStorageRetired": "1.2.840.10008.5.1.4.1.1.5",
    "UltrasoundImageStorageRetired": "1.2.840.10008.5.1.4.1.1.6",
    "StandaloneOverlayStorage": "1.2.840.10008.5.1.4.1.1.8",
    "StandaloneCurveStorage": "1.2.840.10008.5.1.4.1.1.9",
    "WaveformStorageTrial": "1.2.840.10008.5.1.4.1.1.9.1",
    "StandaloneModalityLUTStorage": "1.2.840.10008.5.1.4.1.1.10",
    "StandaloneVOILUTStorage": "1.2.840.10008.5.1.4.1.1.11",
    "XRayAngiographicBiPlaneImageStorage": "1.2.840.10008.5.1.4.1.1.12.3",
    "VLImageStorageTrial": "1.2.840.10008.5.1.4.1.1.77.1",
    "VLMultiFrameImageStorageTrial": "1.2.840.10008.5.1.4.1.1.77.2",
    "TextSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.1",
    "AudioSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.2",
    "DetailSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.3",
    "ComprehensiveSRStorageTrial": "1.2.840.10008.5.1.4.1.1.88.4",
    "StandalonePETCurveStorage": "1.2.840.10008.5.1.4.1.1.129",
}

# Private storage SOP classes that scanners put into ordinary studies (their conformance statements); refusing
# them makes the modality report the whole study as failed.
_PRIVATE = {
    "SiemensCSANonImageStorage": "1.3.12.2.1107.5.9.1",
    "PhilipsPrivateMRSpectrumStorage": "1.3.46.670589.11.0.0.12.1",
    "PhilipsPrivateMRSeriesDataStorage": "1.3.46.670589.11.0.0.12.2",
    "PhilipsPrivateMRExamcardStorage": "1.3.46.670589.11.0.0.12.4",
}

_EXTRA = _RETIRED | _PRIVATE
STORAGE_SOP_CLASSES: tuple[str, ...] = tuple(
    dict.fromkeys((*(str(cx.abstract_syntax) for cx in AllStoragePresentationContexts), *_EXTRA.values()))
)
"""Every storage SOP class that the node accepts: pynetdicom's list, the retired and a few private ones."""


def class_name(uid: str) -> str:
    """Name a SOP class as PS3.6 does; a private one, or one that pydicom does not know, by its keyword."""
    name = UID(uid).name
    if name != uid:
        return str(name)
    known = {str(value): keyword for keyword, value in vars(sop_class).items() if isinstance(value, str)}
    private = {value: f"{keyword} (private)" for keyword, value in _PRIVATE.items()}
    return (known | private).get(uid, uid)


def register() -> None:
    """Tell pynetdicom that the retired and private classes are storage; harmless when repeated.

    Without it pynetdicom accepts the presentation context and then aborts on the first object.
    """
    for keyword, uid in _EXTRA.items():
        if uid_to_service_class(uid) is not StorageServiceClass:
            register_uid(uid, keyword, StorageServiceClass)


@cache
def commitment() -> PresentationContext:
    """Build the context on which storage commitment is reported to us: the peer is its provider."""
    context = build_context(COMMITMENT, [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN])
    context.scu_role, context.scp_role = False, True
    return context


@cache
def supported() -> list[PresentationContext]:
    """Build the acceptor's presentation contexts: storage in every syntax, and Verification.

    Negotiation only reads them; pydicom checks each of 7,500 UIDs, so that they are built once.
    """
    storage = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in STORAGE_SOP_CLASSES]
    return [*storage, build_context(VERIFICATION, [EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN])]
