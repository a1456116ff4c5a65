"""Mark the frames of a functional group object as derived (PS3.3 sections C.7.6.16.2.6 and C.8.16.1)."""

from collections.abc import Iterator

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dae_pacs.image import peek, provenance
from dae_pacs.image.elements import raw
from dae_pacs.image.provenance import Derivation
from dae_pacs.image.text import encode_text

_FRAME_TYPE = peek.tag_of("FrameType")


def mark_frames(target: Dataset, source: Dataset, derivation: Derivation) -> None:
    """Change the functional groups of a copy: each Frame Type says DERIVED, and each frame names its source.

    The Derivation Image macro goes into the shared group, or to each frame's own where the source has it
    there: a macro may stand in one of the two only.
    """
    shared = peek.items(target, "SharedFunctionalGroupsSequence")
    own = peek.items(target, "PerFrameFunctionalGroupsSequence")
    for group in (*shared, *own):
        for item in _macro_items(group):
            if _FRAME_TYPE in item:
                values = ["DERIVED", *peek.strings(item, "FrameType")[1:]]
                item._dict[_FRAME_TYPE] = raw(_FRAME_TYPE, "CS", "\\".join(values).encode("latin-1"))
    if any("DerivationImageSequence" in group for group in own):
        for index, group in enumerate(own):
            _add_derivation(group, source, derivation, frame_number=index + 1)
    elif shared:
        _add_derivation(shared[0], source, derivation, frame_number=None)


def _macro_items(group: Dataset) -> Iterator[Dataset]:
    for elem in peek.walk(group):
        if isinstance(elem, DataElement) and isinstance(elem.value, Sequence):
            yield from elem.value


def _add_derivation(
    group: Dataset, source: Dataset, derivation: Derivation, *, frame_number: int | None
) -> None:
    item = Dataset()
    tag = peek.tag_of("DerivationDescription")
    item._dict[tag] = raw(tag, "ST", encode_text(derivation.sentence, source))
    item.DerivationCodeSequence = provenance.derivation_codes(derivation)
    reference = provenance.source_image(source)
    if frame_number is not None:
        reference.ReferencedFrameNumber = frame_number
    item.SourceImageSequence = [reference]
    kept = peek.items(group, "DerivationImageSequence")
    group._dict[peek.tag_of("DerivationImageSequence")] = provenance.sequence(
        "DerivationImageSequence", [*kept, item]
    )
