"""What the documents show: their fenced blocks and code spans, each with what a comment before it says.

A fenced block has one of the languages below. An HTML comment right before it says how it is to be taken:

    <!-- not run: REASON -->     it can't run here; the reason is listed by test_snippets
    <!-- file: NAME -->          its text is the file NAME, for the blocks after it (pages that are run)
    <!-- append: NAME -->        the same, at the end of the file NAME that is there
    <!-- background: WORDS -->   its command goes on while the next ones run, from when it says WORDS
    <!-- again -->               what it shows comes after a while: repeated until its output is as shown
    <!-- fails -->               its last command ends with a code other than 0, as the text says
    <!-- ctrl-c: WORD -->        alone, without a block: the program whose command ends so is ended
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
LANGUAGES = {"console", "sh", "toml", "json", "yaml", "xml", "python", "text", "ini", "lua", "promql", "sql"}
MARKS = ("not run", "file", "append", "background", "again", "fails", "ctrl-c")

_MARK = re.compile(r"^<!-- (" + "|".join(MARKS) + r")(?:: (.+?))? -->\s*$")


@dataclass(frozen=True)
class Snippet:
    """One fenced block of a document."""

    document: Path
    line: int
    language: str
    text: str
    mark: str | None = None
    words: str = ""
    """What the mark says: a reason, a file's name, words of an output."""

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """The commands of a block of `sh` or `console`, a continued one as one line."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def documents() -> list[Path]:
    """List every document of the repository that a person reads."""
    patterns = ("*.md", "docs/*.md", "docker/**/*.md", "training/README.md", "models/*/docs/README.md")
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def snippets_of(document: Path) -> list[Snippet]:
    """Read the fenced blocks of one document, in order."""
    found: list[Snippet] = []
    mark: tuple[str | None, str] = (None, "")
    for token in MarkdownIt().parse(document.read_text()):
        if token.type == "fence":
            line = (token.map or [0])[0] + 1
            found.append(Snippet(document, line, token.info.strip(), token.content, *mark))
        if token.type == "html_block" and (match := _MARK.match(token.content)):
            mark = (match[1], match[2] or "")
            if mark[0] == "ctrl-c":
                found.append(Snippet(document, (token.map or [0])[0] + 1, "text", "", *mark))
                mark = (None, "")
        elif not token.type.endswith("_open"):
            mark = (None, "")
    return found


def spans_of(document: Path) -> Iterator[tuple[int, str]]:
    """Yield the code spans of one document's text, each with the line of its paragraph or row."""
    line = 0
    for token in MarkdownIt().enable("table").parse(document.read_text()):
        line = token.map[0] + 1 if token.map else line
        for child in token.children or ():
            if child.type == "code_inline":
                yield line, child.content


def all_snippets() -> list[Snippet]:
    """Read the fenced blocks of all documents."""
    return [snippet for document in documents() for snippet in snippets_of(document)]
