"""Options of elanus clients and servers from a TOML file."""

from __future__ import annotations
