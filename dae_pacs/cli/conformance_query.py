"""What the conformance statement says of queries and retrievals (PS3.4 Annex C)."""

from pydicom.uid import UID

from dae_pacs.dimse import finding, getting, moving, retrieval_statuses, statuses
from dae_pacs.dimse.retrieval import Patience
from dae_pacs.node.catalogue import IMAGE_KEYS, SERIES_KEYS, STUDY_KEYS

MODELS = (
    finding.STUDY_ROOT_FIND,
    finding.PATIENT_ROOT_FIND,
    moving.STUDY_ROOT_MOVE,
    moving.PATIENT_ROOT_MOVE,
    getting.STUDY_ROOT_GET,
    getting.PATIENT_ROOT_GET,
)

WORDS = f"""### 4.8 Query and Retrieve

As its user alone, for `dae-pacs fetch` and the rules under `pulls`. Study Root is asked for; Patient Root
where a peer has nothing else. No relational queries, no extended negotiation, no fuzzy matching asked for.

- **C-FIND**: at the levels STUDY, SERIES and IMAGE, each below the last; PATIENT first with Patient Root
  where no Patient ID is given. Matching is single value, wildcard, range (dates) and UID. Specific Character
  Set of the query is ISO_IR 192 unless set otherwise (`character_set`); answers are read in the one that they
  name.
  What is answered is held against what was asked, and other patients, studies and series are left out. A
  query ends with C-CANCEL after {finding.Bounds().most} matches or {finding.Bounds().seconds:g} s, and with
  A-ABORT where the peer then goes on, or says nothing for {finding.Bounds().silence_s:g} s.
- **C-MOVE**: at the level SERIES, or IMAGE for objects that are missing here; to the node's own AE title,
  or `destination`.
- **C-GET**: at the same levels. The storage SOP classes of the series are proposed with the SCP role by role
  selection, in each transfer syntax that fits into 128 presentation contexts; where the peer does not tell
  the SOP classes, {len(getting.USUAL_CLASSES)} usual ones. Objects are received, kept and answered as in
  section 4.5; one of another series than was asked for is refused with 0124.
- A retrieval is cancelled (C-CANCEL) when the node stops or a person asks for it, and aborted after
  {Patience().silence_s:g} s of silence. What came before is kept, and what is missing is asked for again.
"""


def keys() -> list[tuple[str, str]]:
    """List by level which keys are asked for."""
    levels = {"STUDY": STUDY_KEYS, "SERIES": SERIES_KEYS, "IMAGE": IMAGE_KEYS}
    return [(level, ", ".join(names)) for level, names in levels.items()]


def outcomes() -> list[tuple[str, str, str]]:
    """List what follows from a status."""
    rows = [
        (retrieval_statuses.PENDING, "waited on"),
        (statuses.SUCCESS, "the objects that are here are counted"),
        (retrieval_statuses.SOME_FAILED, "what is missing is asked for again"),
        (retrieval_statuses.NO_MATCHES, "asked again later"),
        (retrieval_statuses.NO_SUB_OPERATIONS, "asked again later"),
        (retrieval_statuses.UNKNOWN_DESTINATION, "asked again much later; told to a person"),
        (statuses.MISMATCH, "asked again much later; told to a person"),
        (statuses.CANNOT_UNDERSTAND, "asked again much later; told to a person"),
        (retrieval_statuses.CANCELLED, "it was us"),
    ]
    return [
        (f"{status:04X}", retrieval_statuses.describe(status).partition("(")[2].rstrip(")"), words)
        for status, words in rows
    ]


def classes() -> list[tuple[str, str]]:
    """List the information models."""
    return [(UID(uid).name, uid) for uid in MODELS]
