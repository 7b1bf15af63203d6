"""What elanus finds through the entry point."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from elanus.contracts.codec import Codec
from elanus.contracts.provider import Provider
from elanus.errors import ConfigError


def test_the_entry_point_offers_the_codec() -> None:
    (entry,) = (entry for entry in entry_points(group="elanus") if entry.name == "codec_thrift")
    (provider,) = entry.load().elanus_codecs()
    assert isinstance(provider, Provider)
    assert (provider.name, provider.suffixes) == ("thrift", (".thrift",))
    codec = provider.build({})
    assert isinstance(codec, Codec)
    assert codec.wire == "thrift-binary"
    assert provider.build({}) is not codec


def test_options_are_refused_by_name() -> None:
    from elanus_codec_thrift.hooks import elanus_codecs

    (provider,) = elanus_codecs()
    with pytest.raises(ConfigError, match="has no option colour"):
        provider.build({"colour": 1})


def test_the_hook_imports_nothing_heavy() -> None:
    program = (
        "import sys, elanus_codec_thrift.hooks as hooks; hooks.elanus_codecs(); "
        "print([name for name in sys.modules if name.split('.')[0] in ('thriftpy2', 'ply', 'asyncio')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "[]"
