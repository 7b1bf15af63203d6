"""Core's unit tests run as if nothing were installed: whoever needs plugins says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from elanus import plugins


@pytest.fixture(autouse=True)
def no_plugins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process without plugins; what a test registers is gone after it. The folders below are their own masters."""
    if request.path.parent == Path(__file__).parent:
        monkeypatch.delenv("ELANUS_PLUGINS", raising=False)
        monkeypatch.delenv("ELANUS_CONFIG", raising=False)
        monkeypatch.setattr(plugins, "_process", plugins.PluginSet())
