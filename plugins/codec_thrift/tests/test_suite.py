"""The contract's suite, run on this codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from elanus.testing.codec import CodecSuite, Sample
from elanus_codec_thrift.codec import ThriftCodec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from elanus.contracts.codec import Codec, Idl
    from elanus.service import ServiceInfo


class TestThriftCodec(CodecSuite):
    def codec(self) -> Codec:
        return ThriftCodec()

    def path(self) -> Path:
        return Path(__file__).parent / "idl" / "suite.thrift"

    def service(self, idl: Idl) -> ServiceInfo:
        service: ServiceInfo = idl.Store
        return service

    def samples(self, idl: Idl) -> Sequence[Sample]:
        tree = self._tree(idl, 3)
        return [
            Sample("get", ["key", 3], idl.Item(name="n", tags=["a", "b"], by_id={1: tree}, raw=b"\xff", kinds={1, 2})),
            Sample("put", [idl.Item(name="näme", weight=0.5, tree=tree)]),
            Sample("flush"),
            Sample("count", [{"a", "b"}], 7),
        ]

    def declared_exception(self, idl: Idl) -> tuple[str, BaseException]:
        return "get", idl.Missing(key="k", near=["l"])

    def stream(self, idl: Idl) -> tuple[str, Any, Any]:
        return "chat", idl.Item(name="hello"), idl.Tree(name="leaf")

    def nested(self, idl: Idl, depth: int) -> Sample:
        # The arguments struct and the item around them are levels too, and each tree but the last has a list.
        return Sample("put", [idl.Item(name="n", tree=self._tree(idl, (depth - 1) // 2))])

    def many(self, idl: Idl, items: int) -> Sample:
        return Sample("put", [idl.Item(name="n", tags=["t"] * items)])

    def long(self, idl: Idl, size_bytes: int) -> Sample:
        return Sample("put", [idl.Item(name="n" * size_bytes)])

    def unfit(self, idl: Idl) -> tuple[str, Sequence[Any], str]:
        return "put", [idl.Item(name="n", by_id={1 << 40: idl.Tree()})], "by_id"

    def _tree(self, idl: Idl, depth: int) -> Any:
        return idl.Tree(name=f"at {depth}", children=[self._tree(idl, depth - 1)] if depth > 1 else None)
