"""What elanus finds through the entry point: the codec for ``.thrift`` files. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from elanus.contracts.provider import Provider
from elanus.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from elanus.contracts.codec import Codec

__all__ = ["elanus_codecs"]


@hookimpl
def elanus_codecs() -> Sequence[Provider[Codec]]:
    """Offer the codec ``thrift``, which loads ``.thrift`` files."""
    return [Provider("thrift", _build, suffixes=(".thrift",))]


def _build(options: Mapping[str, object]) -> Codec:
    from elanus_codec_thrift.codec import ThriftCodec  # imports thriftpy2

    return ThriftCodec.from_options(options)
