"""Drives thriftpy2's parser: no cache of its, one module per file, and errors that name file, line and cause.

thriftpy2 keeps parsed files in a process-wide cache under a name made from relative paths: a changed file is not read
again, and one file that is included along two ways becomes two modules with two sets of classes. It also refuses field
names that are reserved words in some language (``end``, ``from``, ``next``), which Kitex takes; and it fills in types
that are declared further down in some places only. While its own lock is held, names of its parser module are therefore
replaced: ``parse`` by one that knows each file by its real path, ``gen_init`` by one that takes any field name, the
list of reserved words by an empty one, and the filling in by nothing: :mod:`elanus_codec_thrift.loading` does it.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ply import lex  # type: ignore[import-untyped]
from thriftpy2.parser import lexer as _lexer
from thriftpy2.parser import parser as _parser

from elanus.errors import ConfigError
from elanus_codec_thrift.scan import Scan, scan
from elanus_codec_thrift.structs import give_init

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

# Modules of which names are replaced for a while.
parser: Any = _parser
words: Any = _lexer
_parse: Any = _parser.parse

__all__ = ["Reference", "SourceFile", "parse_files"]


@dataclass(slots=True, eq=False)
class SourceFile:
    """One parsed file."""

    #: Absolute, links resolved.
    path: str
    module: ModuleType
    scan: Scan
    #: SHA-256 of its bytes, in hexadecimal.
    digest: str


@dataclass(frozen=True, slots=True)
class Reference:
    """The use of a type that was not declared before."""

    name: str
    line: int
    file: SourceFile


def parse_files(path: str, include_directories: Sequence[str]) -> tuple[dict[str, SourceFile], dict[int, Reference]]:
    """Parse *path* and everything that it includes.

    :returns: the files by their real path, each after all that it includes; the last one is *path* itself. And what the
        negative numbers stand for that are found in them in the place of types.
    :raises ConfigError: a file is missing or cannot be parsed.
    """
    run = _Run(include_directories)
    with parser._parse_lock, _replaced(run):
        run(path)
    return run.files, run.references


@contextmanager
def _replaced(run: _Run) -> Iterator[None]:
    kept = parser.parse, parser.gen_init, parser._fill_incomplete_ttype, words.thrift_reserved_keywords
    parser.parse, parser.gen_init = run, _gen_init
    parser._fill_incomplete_ttype, words.thrift_reserved_keywords = lambda *_: None, ()
    try:
        yield
    finally:
        parser.parse, parser.gen_init, parser._fill_incomplete_ttype, words.thrift_reserved_keywords = kept


def _gen_init(cls: Any, thrift_spec: Any = None, default_spec: Any = None) -> Any:
    """thriftpy2's ``gen_init``, which compiles no ``__init__`` when a field is called ``async`` or ``None``."""
    if thrift_spec is not None:
        cls.thrift_spec = thrift_spec
    if default_spec is not None:
        give_init(cls, default_spec)
    return cls


class _Run:
    """One load: called in the place of thriftpy2's ``parse``, for the root here and for includes by the parser."""

    def __init__(self, include_directories: Sequence[str]) -> None:
        self.files: dict[str, SourceFile] = {}
        self.references: dict[int, Reference] = {}
        self._include_directories = list(include_directories)
        #: Files that are being read, each included by the one before it.
        self._open: dict[str, str] = {}

    def __call__(self, path: str, module_name: str | None = None, _context: Any = None) -> ModuleType:
        key = os.path.realpath(path)
        if key in self._open:
            circle = " -> ".join([*self._open.values(), path])
            raise ConfigError(f"the includes go in a circle: {circle}", phase="load", hint="Take one of them out")
        if key not in self.files:
            self._open[key] = path
            self.files[key] = self._read(path, key, _context or self._new_context())
            del self._open[key]
        return self.files[key].module

    def _new_context(self) -> Any:
        context = parser.ParseContext()
        # Only what was asked for and the including file's own directory: by default the working directory counts too.
        context.include_dirs = self._include_directories
        return context

    def _read(self, path: str, key: str, context: Any) -> SourceFile:
        lexer, data = lex.lex(module=parser), b""
        try:
            with open(path, "rb") as source:
                data = source.read()
            module: ModuleType = _parse(path, lexer=lexer, enable_cache=False, _context=context)
            found = scan(lex.lex(module=parser), data.decode())
        except ConfigError:
            raise
        except Exception as error:  # a parser built on assertions and look-ups raises anything
            raise _unreadable(path, error, lexer.lineno, data) from error
        file = SourceFile(key, module, found, hashlib.sha256(data).hexdigest())
        for number, (name, line) in context.incomplete_type.items():
            # Includes come first in a file, so what they did not leave behind is this file's.
            self.references.setdefault(number, Reference(name, line, file))
        return file


def _unreadable(path: str, error: Exception, last_line: int, data: bytes) -> ConfigError:
    if isinstance(error, FileNotFoundError):
        return ConfigError(
            f"there is no IDL file {path!r} (working directory {os.getcwd()!r})",
            phase="load",
            hint="Check the path; it is relative to the working directory, an include's to the file that includes it",
        )
    text = str(error) or type(error).__name__
    if isinstance(error, UnicodeDecodeError):
        text = f"not UTF-8: {error}"
    elif isinstance(error, OSError):
        return ConfigError(
            f"{path}: {error.strerror or error}", phase="load", hint="Check the file and its permissions"
        )
    named = re.search(r"line (\d+)", text)
    line = int(named[1]) if named else _line_of(text, data, last_line)
    text = re.sub(r" (of the file '[^']*'|at line \d+|, at line \d+)", "", text)
    hint = "Correct the IDL there"
    if "include" in text:
        hint = "Give the directory that it is in as an include directory, or correct the path"
    return ConfigError(f"{path}:{line}: {text}", phase="load", hint=hint)


def _line_of(text: str, data: bytes, last_line: int) -> int:
    """The line with the name that the parser complains about: it may have read on to the next line already."""
    named = re.search(r"'([\w./-]+)'| thrift (\S+) in", text)
    if named is not None:
        name = (named[1] or named[2]).encode()
        lines = data.splitlines()[:last_line]
        return next((number for number in range(len(lines), 0, -1) if name in lines[number - 1]), last_line)
    return last_line
