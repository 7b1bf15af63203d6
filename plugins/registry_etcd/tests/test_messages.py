"""etcd's messages live in a pool of their own: whoever else speaks to etcd in this process is not disturbed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from importlib import metadata

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from elanus.errors import ConfigError
from elanus_registry_etcd import messages
from elanus_registry_etcd.messages import etcd_api


def in_a_process_of_its_own(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_messages_survive_the_way_there_and_back() -> None:
    api = etcd_api()
    data = api.PutRequest(key=b"a", value=b"b", lease=7).SerializeToString()
    read = api.PutRequest.FromString(data)
    assert (read.key, read.value, read.lease) == (b"a", b"b", 7)
    # Written by hand from etcd's rpc.proto: key is field 1, value 2, lease 3.
    assert data == b"\x0a\x01a\x12\x01b\x18\x07"


def test_messages_refer_to_those_of_the_other_files() -> None:
    api = etcd_api()
    answer = api.WatchResponse()
    event = answer.events.add()
    event.type = event.DELETE
    event.kv.key = b"a"
    assert api.WatchResponse.FromString(answer.SerializeToString()).events[0].kv.key == b"a"


def test_a_message_that_there_is_not() -> None:
    with pytest.raises(AttributeError, match="NoSuchRequest"):
        _ = etcd_api().NoSuchRequest


class Channel:
    """Remembers what was bound."""

    def unary_unary(self, path: str, **_: object) -> tuple[str, str]:
        return "unary", path

    def stream_stream(self, path: str, **_: object) -> tuple[str, str]:
        return "stream", path


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("KV/Range", "unary"),
        ("Lease/LeaseGrant", "unary"),
        ("Lease/LeaseKeepAlive", "stream"),
        ("Watch/Watch", "stream"),
    ],
)
def test_methods_have_the_paths_of_etcd(path: str, kind: str) -> None:
    bound: object = etcd_api().bind(Channel(), path)
    assert bound == (kind, f"/etcdserverpb.{path}")


def test_the_shared_pool_and_the_modules_are_left_alone() -> None:
    printed = in_a_process_of_its_own(
        """
        import sys
        from google.protobuf import descriptor_pool
        from elanus_registry_etcd import EtcdRegistry, EtcdResolver
        EtcdRegistry(); EtcdResolver()
        for file in ("kv.proto", "auth.proto", "rpc.proto"):
            try:
                descriptor_pool.Default().FindFileByName(file)
            except KeyError:
                continue
            print(file, "is in the shared pool")
        print(*(name for name in sys.modules if name.split(".")[0] == "etcd3"))
        """
    )
    assert printed == ""


def test_another_library_may_have_messages_of_the_same_names() -> None:
    """As every other etcd library has them: in the shared pool, and not the same as ours."""
    printed = in_a_process_of_its_own(
        """
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
        from elanus_registry_etcd.messages import etcd_api
        ours = etcd_api().RangeRequest
        for name, package in (("kv.proto", "mvccpb"), ("rpc.proto", "etcdserverpb")):
            file = descriptor_pb2.FileDescriptorProto(name=name, package=package)
            message = file.message_type.add(name="RangeRequest")
            message.field.add(name="other", number=99, type=9, label=1)
            descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
        found = descriptor_pool.Default().FindMessageTypeByName("etcdserverpb.RangeRequest")
        theirs = message_factory.GetMessageClass(found)
        print(theirs(other="x").other, ours(key=b"k").key.decode(), ours is theirs)
        """
    )
    assert printed == "x k False"


def test_etcd3_itself_behaves_as_it_would_without_us() -> None:
    attempt = """
        try:
            import etcd3
            print("imported", etcd3.__version__)
        except Exception as error:
            print(type(error).__name__, str(error).splitlines()[0])
        """
    ours = "        from elanus_registry_etcd.messages import etcd_api; etcd_api()\n"
    assert in_a_process_of_its_own(ours + attempt) == in_a_process_of_its_own(attempt)


def test_the_literal_is_found_in_both_of_its_spellings() -> None:
    proto = descriptor_pb2.FileDescriptorProto(name="x.proto").SerializeToString()
    for spelling in (f"_b({proto.decode('latin-1')!r})", repr(proto)):
        source = f"DESCRIPTOR = _descriptor.FileDescriptor(name='x.proto', serialized_pb={spelling})"
        assert messages._serialized_descriptor(source, "x_pb2.py") == proto
    with pytest.raises(ConfigError, match=r"etcdrpc/x_pb2\.py of etcd3 holds no descriptor"):
        messages._serialized_descriptor("DESCRIPTOR = _pool.AddSerializedFile(b'')", "x_pb2.py")


def test_a_missing_etcd3_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ConfigError, match=r"etcd3 is not installed.*pip install.*etcd3==0\.12\.0"):
        messages._source("kv_pb2.py")


def test_our_pool_is_not_the_shared_one() -> None:
    assert etcd_api()._pool is not descriptor_pool.Default()
