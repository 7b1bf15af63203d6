"""The members of the workspace and their source files, as the house tests see them."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Member:
    """One distribution of the workspace."""

    folder: Path
    project: dict[str, Any]

    @property
    def name(self) -> str:
        """The distribution, such as ``elanus-codec-thrift``."""
        return str(self.project["project"]["name"])

    @property
    def module(self) -> str:
        """Its package, such as ``elanus_codec_thrift``."""
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of that package."""
        return self.folder / "src" / self.module

    @property
    def files(self) -> list[Path]:
        """Its source files."""
        return sorted(self.source.rglob("*.py"))


@cache
def workspace() -> dict[str, Any]:
    """The root ``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def members() -> tuple[Member, ...]:
    """Every member of the workspace, core first."""
    folders = [folder for pattern in workspace()["tool"]["uv"]["workspace"]["members"] for folder in ROOT.glob(pattern)]
    return tuple(
        Member(folder, tomllib.loads((folder / "pyproject.toml").read_text()))
        for folder in sorted(folders)
        if (folder / "pyproject.toml").exists()
    )


def plugins() -> list[Member]:
    """Every member but core."""
    return [member for member in members() if member.name != "elanus"]


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a source file."""
    return ast.parse(path.read_text(), str(path))


def source_files() -> list[Path]:
    """Every source file of every member."""
    return [path for member in members() for path in member.files]


def dotted(path: Path) -> str:
    """The module of a source file."""
    parts = path.with_suffix("").parts
    start = len(parts) - 1 - parts[::-1].index("src") + 1
    return ".".join(part for part in parts[start:] if part != "__init__")


def place(path: Path) -> str:
    """Where a file is, for messages."""
    return str(path.relative_to(ROOT))
