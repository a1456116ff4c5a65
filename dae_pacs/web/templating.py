"""The environment of the templates: everything is escaped, and a value that is missing is an error."""

from datetime import datetime
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

from dae_pacs.web import wording
from dae_pacs.web.assets import Assets
from dae_pacs.web.role import Role


def environment(assets: Assets) -> Environment:
    """Make the environment of all pages."""
    made = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(asset=assets.url, Role=Role, **wording.GLOBALS)
    made.filters.update(moment=moment, isotime=isotime, size=size, number=number, **wording.FILTERS)
    return made


def moment(seconds: float | None) -> str:
    """Write a time of day with its date, in the machine's time zone."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}" if seconds else "–"


def isotime(seconds: float) -> str:
    """Write a moment for the attribute datetime."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def size(count: float) -> str:
    """Write a number of bytes, in units of powers of ten."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def number(count: int) -> str:
    """Write a whole number with thin spaces between thousands."""
    return f"{count:,}".replace(",", "\u2009")


def _source(name: str) -> str | None:
    found = files("dae_pacs.web").joinpath("templates", *name.split("/"))
    return found.read_text(encoding="utf-8") if found.is_file() else None
