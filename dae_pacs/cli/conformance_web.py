"""What the conformance statement says of DICOMweb (PS3.18; PS3.2 annex N.6)."""

from collections.abc import Iterator

from dae_pacs.dicomweb import storing
from dae_pacs.dicomweb.json_model import LARGEST_INLINE_BYTES
from dae_pacs.node.uploads import TRANSFER_SYNTAX_NOT_SUPPORTED
from dae_pacs.spool.holdings import COLUMNS

WORDS = f"""### 4.9 DICOMweb

Studies Service (PS3.18 chapter 10), as origin server at `/dicom-web` of the console's address, and as user
agent; [dicomweb.md](dicomweb.md) has statuses and settings. HTTP/1.1, over TLS off the node's own machine;
HTTP Basic (RFC 7617) and bearer tokens (RFC 6750).

| Transaction | Origin server | User agent |
|---|---|---|
| Store Instances (STOW-RS), `application/dicom` | yes | yes, to `web_peers` |
| Search (QIDO-RS): studies, series, instances; `application/dicom+json` | yes | yes |
| Retrieve (WADO-RS): study, series, instance; `application/dicom` | yes | yes |
| Retrieve metadata; `application/dicom+json` | yes | yes |
| Retrieve frames, bulk data; `application/octet-stream` | yes | no |
| Retrieve rendered, thumbnails; worklist, capabilities, non-patient instances | no | no |

- **Store**: the SOP classes of annex 9.1 in the transfer syntaxes of section 4.2, checked and kept as
  section 4.5 says. Elements are neither coerced nor dropped.
- **Search**: `limit`, `offset`, `includefield`; `fuzzymatching` is answered with a Warning header. Matched in
  the ledger: {", ".join(sorted(COLUMNS))}; all other attributes from the objects' headers.
- **Retrieve**: in the transfer syntax that an object is kept in, or in explicit VR little endian where that
  loses nothing. Binary values above {LARGEST_INLINE_BYTES} bytes are left to a BulkDataURI.
"""

_REASONS = {
    storing.OUT_OF_RESOURCES: "no room, too large, or the node does not answer",
    storing.MISMATCH: "the data set is another object than its file meta information says",
    storing.OTHER_STUDY: "of another study than the URL",
    storing.CANNOT_UNDERSTAND: "can't be read, is cut short, or is no Part 10 file",
    TRANSFER_SYNTAX_NOT_SUPPORTED: "transfer syntax not supported",
    storing.PROCESSING_FAILURE: "unexpected failure",
    storing.DUPLICATE_INSTANCE: "another object is kept under this UID",
    0x0122: "SOP class not supported",
}


def reasons() -> Iterator[tuple[str, str]]:
    """List the Failure Reasons of a Store request."""
    for code, words in _REASONS.items():
        yield f"{code:04X}", words
