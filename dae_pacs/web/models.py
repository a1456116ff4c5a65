"""The models: what each is, what was measured of it, where it may be used, and who uses it here."""

from dataclasses import dataclass

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from dae_pacs.config.model import Settings
from dae_pacs.denoise.card import Card, read_card, read_picture
from dae_pacs.errors import BundleError
from dae_pacs.resources import BundlePlace, bundle_places
from dae_pacs.web.context import context_of
from dae_pacs.web.pages import render
from dae_pacs.web.role import Role
from dae_pacs.web.roles import needs
from dae_pacs.web.seen import Seen, look


@dataclass(frozen=True)
class Shown:
    """A model on the page."""

    place: BundlePlace
    card: Card | None
    trouble: str
    """Why it can't be used."""
    users: tuple[str, ...]
    """What of the configuration names it."""
    is_loaded: bool


@needs(Role.VIEWER)
def models(request: Request) -> Response:
    """List the models, those of the site and the shipped ones."""
    context = context_of(request)
    seen = look(context)
    places = bundle_places(context.settings.model.folder)
    return render(
        request,
        "models.html.j2",
        models=[_shown(place, context.settings, seen) for place in places],
        seen=seen,
        device=context.settings.model.device,
    )


@needs(Role.VIEWER)
def model(request: Request) -> Response:
    """Show one model with its card."""
    context = context_of(request)
    shown = _shown(_place(request), context.settings, look(context))
    text = _markdown(shown.card, f"/models/{shown.place.name}/pictures") if shown.card else Markup("")
    return render(request, "model.html.j2", shown=shown, card=shown.card, text=text)


@needs(Role.VIEWER)
def picture(request: Request) -> Response:
    """Give a picture of a model's card, held against its manifest."""
    try:
        content = read_picture(_place(request).folder, f"docs/{request.path_params['name']}")
    except BundleError as error:
        raise HTTPException(404, "The model has no such picture.") from error
    return Response(content, media_type="image/png")


def _place(request: Request) -> BundlePlace:
    name = request.path_params["model"]
    for place in bundle_places(context_of(request).settings.model.folder):
        if place.name == name:
            return place
    raise HTTPException(404, "There is no model of that name; it may have been removed.")


def _shown(place: BundlePlace, settings: Settings, seen: Seen | None) -> Shown:
    users = ["the node, where a rule names no model"] if settings.model.name == place.name else []
    users += [f'rule "{rule.name}"' for rule in settings.rules if rule.model == place.name]
    try:
        card, trouble = read_card(place.folder), ""
    except BundleError as error:
        card, trouble = None, str(error)
    is_loaded = seen is not None and card is not None and seen.digest == card.digest
    return Shown(place, card, trouble, tuple(users), is_loaded)


def _markdown(card: Card, pictures: str) -> Markup:
    """Make HTML of a card's text, which is a stranger's: its own HTML is shown as text, never taken."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(card.readme)
    for token in (child for outer in tokens for child in outer.children or ()):
        source = token.attrs.get("src")
        if token.type == "image" and isinstance(source, str):
            token.attrs["src"] = f"{pictures}/{source}"
    for token in tokens:  # the page has its own h1 above the text
        if token.type in {"heading_open", "heading_close"}:
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        if token.type == "table_open":
            token.attrs["tabindex"] = "0"  # wide ones are scrolled, by keyboard too
        if token.type in {"th_open", "td_open"}:
            token.attrs.pop("style", None)  # the Content-Security-Policy would not have it
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704  escaped by the renderer


ROUTES: list[BaseRoute] = [
    Route("/models", models, methods=["GET"]),
    Route("/models/{model}", model, methods=["GET"]),
    Route("/models/{model}/pictures/{name}", picture, methods=["GET"]),
]
