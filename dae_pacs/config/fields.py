"""The kinds of value that settings are made of, each with its check and the words for a wrong one."""

import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

FAULT = "dae_pacs"
"""The `type` of every error of ours among pydantic's: it carries both halves of the message."""

AE_TITLE_LENGTH = 16
"""PS3.5 6.2, value representation AE."""

BUNDLE_NAME = re.compile(r"[a-z0-9_]+")
PEER_NAME = re.compile(r"[a-z0-9_-]+")
DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
DEFAULT_DESCRIPTION = "{source} denoised s={strength:.1f}"
TEMPLATE_FIELDS = ("source", "strength", "model")


def fault(wrong: str, right: str) -> PydanticCustomError:
    """Make an error of ours: what is wrong, and what would be right."""
    return PydanticCustomError(FAULT, "{wrong}; {right}", {"wrong": wrong, "right": right})


def _ae_title(value: str) -> str:
    title = value.strip(" ")
    printable = all(" " <= character <= "~" and character != "\\" for character in title)
    if not 1 <= len(title) <= AE_TITLE_LENGTH or not printable:
        raise fault(
            "is no AE title",
            f"give 1 to {AE_TITLE_LENGTH} ASCII characters without backslash, such as DAE_PACS",
        )
    return title


def _no_truth_value(value: object) -> object:
    """Refuse true and false where a number belongs: pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        raise fault("is a truth value", "give a number, without quotes")
    return value


def _model_name(value: str) -> str:
    if "/" not in value and not BUNDLE_NAME.fullmatch(value):
        raise fault(
            "is no name of a model bundle",
            "give lower-case letters, digits and underscores, such as xray_radiograph_denoising, "
            "or the path of a bundle's folder, with a slash in it",
        )
    return value


def _device(value: str) -> str:
    if not DEVICE.fullmatch(value):
        raise fault(
            "is no device", "give auto, cpu, cuda, or cuda: with the number of the card, such as cuda:0"
        )
    return value


def _peer_name(value: str) -> str:
    if not PEER_NAME.fullmatch(value):
        raise fault("is no name for a peer", "give lower-case letters, digits, - and _, such as orthanc")
    return value


def _template(value: str) -> str:
    right = "give text with {source}, {strength:.1f} or {model} in it, and double any other brace"
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(value) if name is not None]
        unknown = [name for name in names if name not in TEMPLATE_FIELDS]
        if not unknown:
            value.format(source="Chest PA", strength=0.7, model="xray_radiograph_denoising")
    except (ValueError, KeyError, IndexError) as error:
        raise fault(f"is no template ({error})", right) from error
    if unknown:
        raise fault(f"names {{{unknown[0]}}}, which is not known here", right)
    return value


def alone_or_many(value: object) -> object:
    """Read one text, or one number, as a list of one."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str | int | float):
        return (str(value),)
    if isinstance(value, Sequence):
        return tuple(str(item) if type(item) in {int, float} else item for item in value)
    return value


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


AETitle = Annotated[str, AfterValidator(_ae_title)]
Count = Annotated[int, BeforeValidator(_no_truth_value)]
Number = Annotated[float, BeforeValidator(_no_truth_value)]
Seconds = Annotated[float, BeforeValidator(_no_truth_value), Field(gt=0, allow_inf_nan=False)]
Strength = Annotated[float, BeforeValidator(_no_truth_value), Field(ge=0, le=1, allow_inf_nan=False)]
ModelName = Annotated[str, AfterValidator(_model_name)]
Device = Annotated[str, AfterValidator(_device)]
PeerName = Annotated[str, AfterValidator(_peer_name)]
Template = Annotated[str, Field(min_length=1), AfterValidator(_template)]
Texts = Annotated[tuple[str, ...], BeforeValidator(alone_or_many)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
