"""Somebody looks at a study in the console: a line of the audit trail."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from dae_pacs.audit.events import Person, StudyOfPatient
from dae_pacs.node.parts import Parts


@dataclass(frozen=True)
class LookedAt:
    """Tell that a person begins to look at the images of a study."""

    study: int
    """Its number in the ledger."""
    person: Person
    answer: ClassVar = bool


def looked_at(parts: Parts, request: LookedAt) -> bool:
    """Write down who looks at what, with how many objects of each class there are to be seen.

    Returns:
        Whether it was written: there is an audit trail, and such a study.

    Raises:
        SpoolError: the ledger can't be read.
    """
    found = parts.ledger.views.pairs(request.study) if parts.audit.is_kept else None
    if found is not None:
        of_classes = Counter(original.SOPClassUID for original in found.originals)
        study = StudyOfPatient(found.StudyInstanceUID, found.PatientID)
        parts.audit.viewed(request.person, study, of_classes)
    return found is not None
