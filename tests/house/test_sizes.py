"""Small modules and short functions."""

from __future__ import annotations

import ast
from statistics import median

from tests.house.sources import parsed, place, source_files

MOST_LINES_OF_A_FILE = 600
MOST_LINES_OF_A_FUNCTION = 60
MEDIAN_LINES_OF_A_FUNCTION = 10
NO_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "base", "impl", "misc"}


def function_lengths() -> list[tuple[int, str]]:
    """Lines of every function, docstring and decorators included, with its place."""
    lengths = []
    for path in source_files():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                lengths.append(((node.end_lineno or first) - first + 1, f"{place(path)}:{node.lineno} {node.name}"))
    return lengths


def test_there_is_something_to_measure() -> None:
    assert len(source_files()) > 50
    assert len(function_lengths()) > 500


def test_no_file_is_long() -> None:
    long = {
        place(path): lines for path in source_files() if (lines := path.read_text().count("\n")) > MOST_LINES_OF_A_FILE
    }
    assert not long, f"split what has more than {MOST_LINES_OF_A_FILE} lines by what it does"


def test_no_function_is_long() -> None:
    long = [f"{where}: {lines}" for lines, where in function_lengths() if lines > MOST_LINES_OF_A_FUNCTION]
    assert not long


def test_most_functions_are_short() -> None:
    assert median(lines for lines, _ in function_lengths()) < MEDIAN_LINES_OF_A_FUNCTION


def test_modules_are_named_for_what_they_hold() -> None:
    vague = [place(path) for path in source_files() if NO_NAMES & {path.stem, *path.stem.split("_")}]
    assert not vague


def test_every_module_says_what_it_is() -> None:
    silent = [place(path) for path in source_files() if not ast.get_docstring(parsed(path))]
    assert not silent
