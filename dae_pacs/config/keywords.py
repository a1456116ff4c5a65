"""The left-hand sides that a rule's conditions may have: DICOM keywords, and the two AE titles."""

import difflib
import re

from dae_pacs.config.fields import fault

CALLING_AE_TITLE = "CallingAETitle"
CALLED_AE_TITLE = "CalledAETitle"
TITLES = (CALLING_AE_TITLE, CALLED_AE_TITLE)
"""Not in DICOM's dictionary: they belong to the association (PS3.8 9.3.2), not to the object."""

_TAG = re.compile(r"\(?([0-9a-fA-F]{4}),? ?([0-9a-fA-F]{4})\)?")
_WITHOUT_TEXT = frozenset({"SQ", "AT", "OB", "OW", "OD", "OF", "OL", "OV", "UN", "OB or OW", "OB/OW"})


def checked_keyword(name: str) -> str:
    """Give a keyword back that a condition can be about.

    Raises:
        PydanticCustomError: it is not in the dictionary (PS3.6), or its element holds no text to match.
    """
    if name in TITLES:
        return name
    # The dictionary costs 0.3 s to import: whoever has no rules does not pay for it.
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # noqa: PLC0415

    tag = tag_for_keyword(name)
    if tag is None:
        raise fault("is not a DICOM keyword", _proposal(name))
    if dictionary_VR(tag) in _WITHOUT_TEXT:
        raise fault(
            "holds items, tags or binary data, which no pattern can match",
            "name an element with a plain value, such as Modality",
        )
    return name


def _proposal(name: str) -> str:
    from pydicom._dicom_dict import DicomDictionary  # noqa: PLC0415
    from pydicom.datadict import keyword_for_tag  # noqa: PLC0415

    tag = _TAG.fullmatch(name)
    if tag and (keyword := keyword_for_tag(int(tag[1] + tag[2], 16))):
        return f"write the tag's keyword, {keyword}"
    known = {keyword.casefold(): keyword for *_, keyword in DicomDictionary.values() if keyword}
    known |= {title.casefold(): title for title in TITLES}
    close = difflib.get_close_matches(name.casefold().replace(" ", ""), known, n=1, cutoff=0.7)
    if close:
        return f"did you mean {known[close[0]]}?"
    return "give a keyword of PS3.6, such as Modality, or CallingAETitle or CalledAETitle"
