"""Every way in which a call fails, made to happen over TCP, says word by word what the golden file says."""

from __future__ import annotations

import copy
import logging
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from .golden import golden_messages, heading, normalised
from .scenes import CLIENT_SCENES, SERVER_SCENES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import elanus

GOLDEN = golden_messages()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "elanus.registry_etcd")


def names(scenes: tuple[Any, ...]) -> list[str]:
    return [scene.__name__ for scene in scenes]


def test_every_message_has_its_scene() -> None:
    assert list(GOLDEN) == [*names(CLIENT_SCENES), *names(SERVER_SCENES)]


@pytest.mark.parametrize("scene", CLIENT_SCENES, ids=names(CLIENT_SCENES))
async def test_what_callers_read(scene: Callable[[Path], Awaitable[elanus.ElanusError]], tmp_path: Path) -> None:
    error = await scene(tmp_path)
    assert (heading(error), normalised(str(error))) == GOLDEN[scene.__name__]
    _names_everything(error)
    _survives(error)


#: What is about no instance names what there is instead: the resolver, the registry, the key of the breaker.
ELSEWHERE = {
    "name_not_found": "resolver 'file'",
    "registry_down": "etcd at 127.0.0.1:",
    "breaker_open": "'/Echo/echo'",
}


@pytest.mark.parametrize("scene", CLIENT_SCENES, ids=names(CLIENT_SCENES))
def test_every_message_names_instance_phase_cause_and_next_step(scene: Any) -> None:
    _, text = GOLDEN[scene.__name__]
    place, _, rest = text.partition("]: ")
    assert place.split(" ")[0] in ("Echo/echo", "Echo/shout", "Mailbox/count"), "the call"
    assert place.partition(" [")[2], "the phase"
    assert ELSEWHERE.get(scene.__name__, "127.0.0.1:8001") in text, "the instance"
    cause, _, step = rest.partition(". ")
    assert cause, "the cause"
    assert step or scene.__name__ == "biz_status", "the next step; business statuses leave it to explain()"


def _names_everything(error: elanus.ElanusError) -> None:
    lines = error.explain().splitlines()
    table = {line[2:19].strip(): line[19:] for line in lines if line.startswith("  ") and not line[2].isdigit()}
    assert lines[0] == type(error).__name__
    assert table["call"] == f"{error.service}/{error.method}"
    assert table["phase"] == error.phase
    assert table["cause"] == error.cause_text()
    assert table["next step"] == (error.hint or error.next_step)
    assert table["next step"], "there is always something that one can do"
    assert table.get("instance") == error.instance
    assert error.timeline is not None
    assert sum(seconds for _, seconds in error.timeline.phases) == pytest.approx(error.timeline.total, abs=1e-9)
    assert len(error.attempts) >= 1


def _survives(error: elanus.ElanusError) -> None:
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (str(again), again.explain()) == (str(error), error.explain())


@pytest.mark.parametrize("scene", SERVER_SCENES, ids=names(SERVER_SCENES))
async def test_what_a_server_logs(scene: Callable[[Path], Awaitable[str]], tmp_path: Path) -> None:
    line = await scene(tmp_path)
    assert (heading(line), normalised(line)) == GOLDEN[scene.__name__]
    assert "from 127.0.0.1:" in line, "the peer"
    cause, _, step = line.rpartition(". ")
    assert cause
    assert step, "the next step"
