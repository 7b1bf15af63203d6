"""Keys and values, byte for byte as Go writes them."""

from __future__ import annotations

import json
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elanus.errors import ConfigError
from elanus.service import Instance
from elanus_registry_etcd.layout import (
    TagPool,
    decode_value,
    encode_value,
    instance_key,
    service_key,
    split_address,
    with_host_and_port,
)


def decoded(data: bytes, default_weight: int = 10) -> Instance:
    return decode_value(data, default_weight, TagPool())


@pytest.mark.parametrize(
    ("instance", "value"),
    [
        (
            Instance("10.0.0.5:8888"),
            b'{"network":"tcp","address":"10.0.0.5:8888","weight":10,"tags":null}',
        ),
        (
            Instance("10.0.0.5:8888", 25, {"zone": "b", "env": "prod"}),
            b'{"network":"tcp","address":"10.0.0.5:8888","weight":25,"tags":{"env":"prod","zone":"b"}}',
        ),
        (
            Instance("[2001:db8::1]:80", 1, {"<a&b>": "ü\u2028"}),
            b'{"network":"tcp","address":"[2001:db8::1]:80","weight":1,'
            b'"tags":{"\\u003ca\\u0026b\\u003e":"\xc3\xbc\\u2028"}}',
        ),
    ],
)
def test_values_are_those_of_go(instance: Instance, value: bytes) -> None:
    assert encode_value(instance) == value
    assert decoded(value) == instance


@given(
    st.integers(1, 2**31),
    st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5),
)
def test_every_instance_survives_the_way_there_and_back(weight: int, tags: dict[str, str]) -> None:
    instance = Instance("10.0.0.5:8888", weight, tags)
    data = encode_value(instance)
    assert decoded(data) == instance
    assert not set(data) & set(b"<>&")


@pytest.mark.parametrize(
    ("value", "instance"),
    [
        (b'{"address":"10.0.0.5:1"}', Instance("10.0.0.5:1")),
        (b'{"network":"tcp4","address":"10.0.0.5:1","weight":0}', Instance("10.0.0.5:1")),
        (b'{"network":"tcp","address":"10.0.0.5:1","weight":-3,"tags":{}}', Instance("10.0.0.5:1")),
        (b' {"tags":null,"more":[1],"address":"host.name:1","weight":3}\n', Instance("host.name:1", 3)),
        (b'{"network":"tcp","address":"2001:db8::1:8888"}', Instance("[2001:db8::1]:8888")),
        (b'{"network":"unix","address":"/run/x.sock"}', Instance("unix:/run/x.sock")),
    ],
)
def test_what_others_write_is_read(value: bytes, instance: Instance) -> None:
    assert decoded(value) == instance


def test_the_default_weight_can_be_chosen() -> None:
    assert decoded(b'{"address":"a:1","weight":0}', default_weight=7).weight == 7


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "no JSON object|not a JSON object"),
        (b'"10.0.0.5:1"', "not a JSON object"),
        (b"{}", "no address"),
        (b'{"address":""}', "no address"),
        (b'{"address":7}', "no address"),
        (b'{"address":"10.0.0.5"}', "no port"),
        (b'{"address":"10.0.0.5:http"}', "no port"),
        (b'{"address":"a:b:1"}', "is none"),
        (b'{"network":"udp","address":"10.0.0.5:1"}', "network is 'udp'"),
        (b'{"address":"10.0.0.5:1","weight":1.5}', "weight is 1.5"),
        (b'{"address":"10.0.0.5:1","weight":"1"}', "weight is '1'"),
        (b'{"address":"10.0.0.5:1","weight":true}', "weight is True"),
        (b'{"address":"10.0.0.5:1","tags":{"a":1}}', "tags"),
        (b'{"address":"10.0.0.5:1","tags":["a"]}', "tags"),
    ],
)
def test_what_go_could_not_read_is_refused(value: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decoded(value)


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["network", "address", "weight", "tags", "x"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode())
)
def test_anything_else_is_an_instance_or_refused(value: bytes) -> None:
    try:
        instance = decoded(value)
    except ValueError:
        return
    assert instance.address
    assert instance.weight > 0


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("10.0.0.5:8888", "kitex/registry-etcd/acme.echo/10.0.0.5:8888"),
        ("[2001:db8::1]:80", "kitex/registry-etcd/acme.echo/2001:db8::1:80"),
    ],
)
def test_keys_are_those_of_kitex(address: str, key: str) -> None:
    assert instance_key("kitex/registry-etcd", "acme.echo", address) == key


def test_an_empty_prefix_is_that_of_kitex_old_constructor() -> None:
    assert service_key("", "echo") == "/echo/"


@pytest.mark.parametrize("name", ["", "/", "a/b", "a/"])
def test_names_that_would_reach_into_others(name: str) -> None:
    with pytest.raises(ConfigError, match="etcd cannot hold a service"):
        service_key("p", name)


@pytest.mark.parametrize(
    "address", ["", "8888", ":8888", "host", "host:", "host:http", "unix:/run/x", "unix:/run/x:80"]
)
def test_addresses_that_nobody_could_reach(address: str) -> None:
    with pytest.raises(ConfigError, match="cannot be announced in etcd"):
        split_address(address)


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("", "", "10.0.0.5:80"),
        ("192.0.2.1", "", "192.0.2.1:80"),
        ("", "81", "10.0.0.5:81"),
        ("2001:db8::1", "81", "[2001:db8::1]:81"),
        ("[2001:db8::1]", "81", "[2001:db8::1]:81"),
    ],
)
def test_host_and_port_of_the_environment(host: str, port: str, address: str) -> None:
    assert with_host_and_port("10.0.0.5:80", host, port) == address


def test_equal_tags_are_one_object() -> None:
    pool = TagPool()
    values = [encode_value(Instance(f"10.0.0.{n}:80", 10, {"zone": "a", "n": str(n % 2)})) for n in range(4)]
    first, second, third, _ = (decode_value(value, 10, pool) for value in values)
    assert first.tags is third.tags
    assert first.tags is not second.tags
    pool.keep([first])
    assert pool.shared({"zone": "a", "n": "0"}) is first.tags
    assert pool.shared({"zone": "a", "n": "1"}) is not second.tags
    assert pickle.loads(pickle.dumps(first)) == first


def test_an_instance_is_small() -> None:
    pool = TagPool()
    tags = {"zone": "a", "version": "1.2.3"}
    instance = decode_value(encode_value(Instance("10.0.0.5:8888", 10, tags)), 10, pool)
    assert sys.getsizeof(instance) + sys.getsizeof(instance.address) < 256
