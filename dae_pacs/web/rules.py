"""The rules in words, and a dry run: what would happen to a file, and why. The file is not kept."""

from dataclasses import dataclass
from typing import BinaryIO, Final

from pydicom.uid import UID
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.config.model import Settings
from dae_pacs.errors import InputError
from dae_pacs.image.header import Summary, read_header, summarise
from dae_pacs.node.routing import decide, in_words
from dae_pacs.web.context import context_of
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import form_of, needs

_MOST_BYTES: Final = 300_000_000
"""The file's end is looked for, since one that is cut off is none; larger ones: `dae-pacs rules try`."""
_MOST_AT_ONCE: Final = 2
"""Dry runs: each may hold as many bytes on the disk while it comes."""
_TITLE_CHARACTERS: Final = 16


@dataclass(frozen=True)
class Tried:
    """What a dry run came to."""

    name: str
    summary: Summary | None = None
    kind: str = ""
    """The SOP class by its name in PS3.6."""
    lines: tuple[str, ...] = ()
    outcome: str = ""
    error: str = ""
    calling_ae: str = ""
    called_ae: str = ""


@needs(Role.VIEWER)
def rules(request: Request) -> Response:
    """Show the rules in the order in which they are tried."""
    return _page(request, None)


@needs(Role.VIEWER, most_bytes=_MOST_BYTES, at_once=_MOST_AT_ONCE)
def dry_run(request: Request) -> Response:
    """Show what would happen to a file."""
    form, settings = form_of(request), context_of(request).settings
    file = form.get("file")
    calling_ae = str(form.get("calling_ae", ""))[:_TITLE_CHARACTERS]
    called_ae = str(form.get("called_ae", ""))[:_TITLE_CHARACTERS] or settings.node.ae_title
    if not isinstance(file, UploadFile) or not file.filename:
        tried = Tried("", error="No file came with the form. Choose a DICOM file first.")
    else:
        tried = _tried(file.filename, file.file, settings, calling_ae=calling_ae, called_ae=called_ae)
    return _page(request, tried)


def _tried(name: str, file: BinaryIO, settings: Settings, *, calling_ae: str, called_ae: str) -> Tried:
    try:
        header = read_header(file)
        summary = summarise(header)
        decision = decide(
            header,
            summary,
            calling_ae=calling_ae,
            called_ae=called_ae,
            rules=settings.rules,
            model=settings.model,
        )
    except InputError as error:
        return Tried(name, error=str(error), calling_ae=calling_ae, called_ae=called_ae)
    return Tried(
        name,
        summary=summary,
        kind=UID(summary.SOPClassUID).name,
        lines=decision.explanation[:-1],
        outcome=decision.explanation[-1],
        calling_ae=calling_ae,
        called_ae=called_ae,
    )


def _page(request: Request, tried: Tried | None) -> Response:
    settings = context_of(request).settings
    titles = {peer.ae_title for peer in settings.peers.values()}
    titles |= {title for sender in settings.senders.values() for title in sender.ae_title}
    template = "rules/tried.html.j2" if tried and "hx-request" in request.headers else "rules.html.j2"
    return render(
        request,
        template,
        rules=[(rule, in_words(rule, settings.model)) for rule in settings.rules],
        tried=tried,
        titles=sorted(titles),
        own_title=settings.node.ae_title,
    )


ROUTES: list[BaseRoute] = [
    Route("/rules", rules, methods=["GET"]),
    Route("/rules", dry_run, methods=["POST"]),
]
