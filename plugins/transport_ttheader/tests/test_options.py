"""What users may write, and what the hook offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from elanus.contracts.transport import Sniff
from elanus.errors import ConfigError
from elanus_transport_ttheader.hooks import elanus_transports
from elanus_transport_ttheader.options import TTHeaderOptions, read_options

PROVIDERS = {provider.name: provider for provider in elanus_transports()}


def test_the_names() -> None:
    assert list(PROVIDERS) == ["ttheader", "framed", "buffered"]
    for name, provider in PROVIDERS.items():
        assert provider.build({}).name == name


def test_the_options() -> None:
    assert read_options("ttheader", {}) == TTHeaderOptions(framed=True, crc32c=False, mux=None)
    given = {"framed": False, "crc32c": True, "mux": None}
    assert read_options("ttheader", given) == TTHeaderOptions(framed=False, crc32c=True, mux=None)
    assert read_options("framed", {}) == TTHeaderOptions(framed=True, mux=False)
    assert read_options("buffered", {}) == TTHeaderOptions(framed=False, mux=False)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ttheader", {"frame": True}, "Did you mean 'framed'"),
        ("ttheader", {"zzz": True}, "Known: crc32c, framed, mux"),
        ("ttheader", {"framed": 1}, "option 'framed' of transport 'ttheader' is 1"),
        ("ttheader", {"framed": None}, "Give true or false"),
        ("ttheader", {"mux": "yes"}, "option 'mux'"),
        ("framed", {"crc32c": True}, "has no option 'crc32c'"),
        ("buffered", {"mux": True}, "It has none"),
    ],
)
def test_options_that_are_wrong(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        PROVIDERS[name].build(options)


def test_all_names_recognise_the_same() -> None:
    heads = [
        bytes.fromhex(text) for text in ("0000005710000000", "800100010000000a", "0000001d80010001", "4745540a20202020")
    ]
    heads += [bytes.fromhex("0000005710000002"), b"\xff\xaf\0\4\0\1\0\1", bytes.fromhex("0000001490010001")]
    answers = [[provider.build({}).sniff(head) for head in heads] for provider in PROVIDERS.values()]
    assert answers[0] == answers[1] == answers[2]
    assert [answer is Sniff.YES for answer in answers[0]] == [True, True, True, False, False, True, True]


def test_the_hook_loads_nothing_heavy() -> None:
    code = (
        "import sys, elanus_transport_ttheader.hooks as hooks; hooks.elanus_transports();"
        "heavy = ('asyncio', 'google_crc32c', 'elanus_transport_ttheader.transport');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
