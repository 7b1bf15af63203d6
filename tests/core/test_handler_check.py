"""Handlers are checked when they are added: what is missing or does not fit is said at once, all of it."""

from __future__ import annotations

from typing import Any

import pytest

import elanus
from elanus import ConfigError

from .store import Store, idl


class Incomplete(Store):
    get = None  # type: ignore[assignment]


class TooFew(Store):
    async def put(self, key: str) -> None: ...  # type: ignore[override]


class NoGenerator(Store):
    async def list(self, prefix: str) -> Any:  # type: ignore[override]
        return []


class NoCoroutine(Store):
    def add(self, items: Any) -> Any:
        return []


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (object(), "object has no method get, put, note, list, add, chat of Store. Write one method per IDL method"),
        (Incomplete(), "Incomplete has no method get of Store"),
        (TooFew(), r"TooFew.put\(\) cannot be called with the parameters of Store/put \(key, value\): too many"),
        (NoGenerator(), r"NoGenerator.list\(\) must be an async generator. Yield each reply"),
        (NoCoroutine(), r"NoCoroutine.add\(\) must be `async def`"),
    ],
)
def test_a_handler_that_does_not_fit_is_refused_when_it_is_added(handler: object, text: str) -> None:
    server = elanus.Server()
    with pytest.raises(ConfigError, match=text):
        server.add_service(idl.Store, handler)
    assert server.services() == {}


def test_more_parameters_are_fine_when_they_have_defaults() -> None:
    class More(Store):
        async def get(self, key: str, extra: int = 1, *rest: Any, **named: Any) -> Any:
            return extra

    elanus.Server().add_service(idl.Store, More())


def test_all_that_is_wrong_is_said_at_once() -> None:
    class Wrong(TooFew, NoGenerator, NoCoroutine):
        get = None  # type: ignore[assignment]

    with pytest.raises(ConfigError) as caught:
        elanus.Server().add_service(idl.Store, Wrong())
    assert caught.value.message.split("; ") == [
        "Wrong has no method get of Store",
        "Wrong.put() cannot be called with the parameters of Store/put (key, value): too many positional arguments",
        "Wrong.list() must be an async generator",
        "Wrong.add() must be `async def`",
    ]
    assert caught.value.hint == (
        "Write one method per IDL method. Give it one parameter per IDL parameter. Yield each reply of the stream. "
        "Iterate over the requests, return the reply"
    )


async def test_a_server_says_what_it_is() -> None:
    server = elanus.Server()
    assert repr(server) == "<Server of nothing, new>"
    server.add_service(idl.Store, Store())
    await server.start()
    assert repr(server) == "<Server of Store, running>"
    await server.stop()
    assert repr(server) == "<Server of Store, stopped>"
