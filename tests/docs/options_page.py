"""The reference of all options, made from the code: ``python -m tests.docs.options_page > docs/options.md``.

Names, types, defaults and what a file may give are those of the dataclasses; the words are the ``#:`` comments above
each option. Its last sentence may name what Kitex has: ``Kitex: 0.05.``
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping

import elanus
from elanus.option_values import in_words
from elanus.sourced import Sourced

_HEAD = """\
# Options

Every option of elanus. This page is made from the code: `python -m tests.docs.options_page > docs/options.md`.

- **Takes** is the type in Python. Seconds are numbers; a whole number will do.
- **Kitex** is the default there, or what sets it there. Empty: it has nothing of the kind.
- **File** is what a [configuration](configuration.md) may give. `no`: an object of Python, which code alone can set.
  Seconds in a file may be a text with a unit: `"200ms"`, `"1.5s"`, `"2m"`, `"1h"`.
- **Running** says whether a change of the configuration counts while the client or server runs. `restart`: it counts
  from the next start on.

An unknown option, or a value that does not fit, raises `ConfigError`, which names the nearest known option or what it
takes. For options of parts (`retrier`, `balancer`, ...) see the README of their plugin.
"""

_SECTIONS: tuple[tuple[str, type], ...] = (
    ("Options of a client", elanus.ClientOptions),
    ("Options of a method of a client", elanus.MethodOptions),
    ("Options of a call", elanus.CallOptions),
    ("Connections of a client", elanus.PoolOptions),
    ("Warming a client up", elanus.WarmUp),
    ("What a timeout provider answers", elanus.Timeouts),
    ("Options of a server", elanus.ServerOptions),
    ("Options of a method of a server", elanus.HandlerOptions),
    ("Limits of both sides", elanus.Limits),
)
#: Those that a configuration may give: themselves, or as a table of one of the others.
_IN_FILES = {elanus.ClientOptions, elanus.MethodOptions, elanus.PoolOptions, elanus.WarmUp, elanus.ServerOptions}
_IN_FILES |= {elanus.HandlerOptions, elanus.Limits}

_FIELD = re.compile(r"    (\w+): ")
_KITEX = re.compile(r"\s*Kitex: (.+)\.$")


def comments(cls: type) -> dict[str, str]:
    """The comment above each option of *cls*, as one text."""
    found, lines = {}, []
    for line in inspect.getsource(cls).splitlines():
        if line.startswith("    #: "):
            lines.append(line.removeprefix("    #: "))
            continue
        name = _FIELD.match(line)
        if name is not None:
            found[name[1]] = " ".join(lines)
        lines = []
    return found


def split(comment: str) -> tuple[str, str]:
    """What a comment says of the option, and of Kitex."""
    kitex = _KITEX.search(comment)
    return _markdown(_KITEX.sub("", comment)), _markdown(kitex[1]) if kitex else ""


def _markdown(text: str) -> str:
    text = re.sub(r":(?:class|meth|exc|data):`~?([^`]+)`", r"`\1`", text)
    return re.sub(r"``([^`]+)``", r"`\1`", text).replace("|", "\\|")


def _default(cls: type, item: dataclasses.Field[object]) -> str:
    """As the code has it: ``16 * 1024 * 1024`` says more than its product."""
    value = getattr(cls(), item.name)
    written = re.search(rf"^    {item.name}: .* = (.+)$", inspect.getsource(cls), re.MULTILINE)
    if isinstance(value, int) and written is not None:
        return written[1] if written[1][0].isdigit() else str(value)
    if isinstance(value, str):
        return f'"{value}"'
    if dataclasses.is_dataclass(value) or isinstance(value, elanus.Metadata):
        return f"{type(value).__name__}()"
    if isinstance(value, tuple):
        return "()" if not value else written[1] if written else repr(value)
    return "{}" if isinstance(value, Mapping) else str(value)


def _rows(cls: type) -> Iterator[list[str]]:
    every = [item for item in dataclasses.fields(cls) if item.name not in ("sources", "writer")]
    said = comments(cls)
    for item in every:
        words, kitex = split(said[item.name])
        row = [f"`{item.name}`", f"`{_type(item)}`", f"`{_default(cls, item)}`", kitex]
        if cls in _IN_FILES:
            row.append(_in_a_file(item))
        if issubclass(cls, Sourced):
            row.append("" if _in_a_file(item) == "no" else "restart" if item.name in cls.fixed else "changes")
        yield [*row, words]


def _in_a_file(item: dataclasses.Field[object]) -> str:
    if item.name == "methods":
        return "a table of its own for each"
    return "no" if item.name == "config" else in_words(item.type) or "no"


def _type(item: dataclasses.Field[object]) -> str:
    text = str(item.type)
    if "Callable" in text:
        several = text.startswith("tuple[")
        return "functions" if several else "function"
    return text.replace("|", "\\|")


def _section(heading: str, cls: type) -> Iterator[str]:
    purpose = inspect.cleandoc(cls.__doc__ or "")
    yield f"\n## {heading}\n\n`elanus.{cls.__name__}`. {_markdown(purpose)}\n"
    head = ["Option", "Takes", "Default", "Kitex"]
    head += ["File"] if cls in _IN_FILES else []
    head += ["Running"] if issubclass(cls, Sourced) else []
    yield f"| {' | '.join([*head, 'What it is'])} |"
    yield f"|{'---|' * (len(head) + 1)}"
    for row in _rows(cls):
        yield "|".join(["", *(f" {cell} " if cell else " " for cell in row), ""])


def page() -> str:
    """The whole page."""
    lines = [line for heading, cls in _SECTIONS for line in _section(heading, cls)]
    return f"{_HEAD}{chr(10).join(lines)}\n"


if __name__ == "__main__":
    print(page(), end="")
