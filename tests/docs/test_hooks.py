"""Every hook is in ``docs/hooks.md``, with its real arguments, in the order of ``hookspecs.py``."""

import inspect
import re

from elanus import hookspecs
from elanus.plugins import KINDS
from tests.docs.pages import ROOT, sections, tables

_PAGE = ROOT / "docs/hooks.md"


def _hooks() -> dict[str, str]:
    """Each hook as ``name(arg1, arg2)``, in the order in which they are written."""
    functions = {name: item for name, item in vars(hookspecs).items() if name.startswith("elanus_")}
    return {name: f"{name}({', '.join(inspect.signature(item).parameters)})" for name, item in functions.items()}


def test_every_hook_is_there_with_its_arguments() -> None:
    told = [heading.strip("`") for heading in sections(_PAGE) if heading.startswith("`elanus_")]
    assert told == list(_hooks().values())


def test_every_argument_is_explained() -> None:
    texts = sections(_PAGE)
    for name, signature in _hooks().items():
        explained = re.findall(r"^- `(\w+)`:", texts[f"`{signature}`"], re.MULTILINE)
        assert explained == list(inspect.signature(getattr(hookspecs, name)).parameters), name


def test_every_hook_says_what_it_returns() -> None:
    texts = sections(_PAGE)
    for signature in _hooks().values():
        assert re.search(r"^Returns ", texts[f"`{signature}`"], re.MULTILINE), signature


def test_every_kind_has_its_contract_named() -> None:
    texts = sections(_PAGE)
    for hook, _, contract in KINDS.values():
        assert f"`Provider[{contract}]`" in texts[f"`{hook}()`"]


def test_every_contribution_is_in_the_table_of_when() -> None:
    told = {row[0].strip("`") for row in tables(_PAGE.read_text())[0]} - {"the offers"}
    assert told == set(_hooks()) - {hook for hook, _, _ in KINDS.values()}
