"""The documentation as data: its pages, and the blocks of code in them.

A block's first line says what the tests do with it, after the language:

============================ ==========================================================================================
`` ```python ``              compiled; ``await`` outside of a function is allowed
`` ```python run ``          executed, in the order of the page, all blocks of a page in one namespace and event loop
`` ```LANG file=NAME ``      written to that file in the page's folder before anything runs; Python is compiled, too
`` ```console run ``         each line behind ``$`` runs in a shell; the lines below it are what it must print
`` ```console background ``  its one command runs until the end of the page; it must say "serving", and end well
`` ```text output ``         what the ``run`` block before it must print
``<!-- run`` to ``-->``      as `` ```python run ``, but not shown to readers
============================ ==========================================================================================

In what is printed ``...`` stands for anything, and runs of blanks are equal. The ports 8888 and 8889 become free ones.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)(```+)(.*)$")


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    #: Line of the page on which the text begins, from 1.
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block is the text of."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), None)

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.name}:{self.line}"


def pages() -> list[Path]:
    """Every page of the documentation."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("core/*.md"), *ROOT.glob("plugins/*/*.md")]
    return sorted([*found, *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])


def page_name(page: Path) -> str:
    """How a page is called in test names."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The blocks of *page*, in order."""
    lines = page.read_text().splitlines()
    found, number = [], 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence is not None:
            indent, ticks, info = fence.groups()
            block, number = _block(page, lines, number + 1, f"{indent}{ticks}", len(indent), info.split())
            found.append(block)
        elif lines[number] == "<!-- run":
            block, number = _block(page, lines, number + 1, "-->", 0, ["python", "run"])
            found.append(block)
        else:
            number += 1
    return found


def _block(page: Path, lines: list[str], start: int, end: str, indent: int, info: list[str]) -> tuple[Block, int]:
    stop = start
    while lines[stop].rstrip() != end:
        stop += 1
        if stop == len(lines):
            raise ValueError(f"{page}:{start} is not closed")
    text = "".join(f"{line[indent:]}\n" for line in lines[start:stop])
    return Block(page, start + 1, info[0] if info else "", tuple(info[1:]), text), stop + 1


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)


def sections(page: Path) -> dict[str, str]:
    """The text under each heading, up to the next heading, by heading."""
    parts = re.split(r"^#{1,6} +(.+?) *$", prose(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def tables(text: str) -> list[list[list[str]]]:
    """The tables in *text*: of each the rows, without its head, and of each row the cells."""
    found: list[list[str]] = [[]]
    for line in map(str.strip, text.splitlines()):
        if line.startswith("|"):
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [[_cells(row) for row in rows[2:]] for rows in found if rows]


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
