"""The documentation's site: Sphinx over the Markdown as it lies in the repository; `make docs`, in out/site.

The source folder is the repository itself, so that one relative link works here and on a repository's host.
What is no page (a script, a compose file) becomes a download. Neither build nor reader fetches anything.
"""

import re

from sphinx.application import Sphinx

from dae_pacs import __version__

project = "dae-pacs"
author = "the dae-pacs authors"
version = release = __version__

extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/*.md",
    "benchmarks/RESULTS.md",
    "training/README.md",
    "models/*/docs/README.md",
]
# Not walked: .venv alone has 50,000 files.
exclude_patterns = [".*", "build", "dae_pacs", "dist", "out", "runs", "spool", "tests"]
nitpicky = True
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"dae-pacs {__version__}"
html_extra_path = ["site"]
html_copy_source = False
html_show_copyright = False


def _navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    """Make the side bar from the lists of docs/index.md, so that there is one table of contents.

    A page that none of them names is a warning of Sphinx, and so an error.
    """
    if page != root_doc:
        return
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        caption = section.partition("\n")[0]
        pages = re.findall(r"^- \[[^]]+\]\(([^)]+)\.md\)", section, flags=re.MULTILINE)
        source[0] += "\n".join(["\n\n```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```\n"])


def setup(app: Sphinx) -> dict[str, bool]:
    """Hook the navigation in; Sphinx calls this."""
    app.connect("source-read", _navigation)
    return {"parallel_read_safe": True}
