"""Options, and the system's own configuration."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from elanus.errors import ConfigError
from elanus.plugins import installed_plugins
from elanus_resolver_dns import DnsResolver, DnsSettings
from elanus_resolver_dns.questions import QuestionError, System


def test_it_is_found_by_its_name() -> None:
    assert isinstance(installed_plugins().select("resolver", ("dns", {"port": 80})), DnsResolver)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"port": 0}, "port is 0"),
        ({"port": 65536}, "port is 65536"),
        ({"port": "80"}, "'port'"),
        ({"record": "a"}, "record is 'a'"),
        ({"family": "v4"}, "family is 'v4'"),
        ({"timeout": 0.0}, "timeout is 0"),
        ({"min_refresh": 0.0}, "min_refresh is 0"),
        ({"min_refresh": 5.0, "max_refresh": 4.0}, "max_refresh is 4"),
        ({"ndots": -1}, "ndots is -1"),
        ({"nameservers": "dns.acme"}, "'dns.acme' is no address"),
        ({"nameservers": "dns.acme:53"}, "'dns.acme:53' is no address"),
        ({"nameservers": ["10.0.0.1:0"]}, "'10.0.0.1:0' is no address"),
        ({"search": "a..b"}, "search is"),
        ({"servers": "10.0.0.1"}, "Did you mean 'nameservers'"),
    ],
)
def test_options_that_make_no_sense_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        installed_plugins().select("resolver", ("dns", values))


def test_ways_to_write_a_name_server() -> None:
    settings = DnsSettings(nameservers=("10.0.0.1", "10.0.0.1:5353", "::1", "[::1]:5353"))
    assert settings.servers == [("10.0.0.1", 53), ("10.0.0.1", 5353), ("::1", 53), ("::1", 5353)]


async def test_the_systems_file_and_the_options_over_it(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.9\nsearch a.test b.test\noptions ndots:5 edns0\n")
    servers = await System(DnsSettings(resolv_conf=str(path))).current()
    assert [str(domain) for domain in servers.domains] == ["a.test.", "b.test."]
    assert servers.ndots == 5
    servers = await System(DnsSettings(resolv_conf=str(path), search=("c.test",), ndots=2)).current()
    assert [str(domain) for domain in servers.domains] == ["c.test."]
    assert servers.ndots == 2
    servers = await System(DnsSettings(resolv_conf=str(path), search=())).current()
    assert list(servers.domains) == []


async def test_the_same_until_the_file_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.9\n")
    system = System(DnsSettings(resolv_conf=str(path)))
    before = await system.current()
    assert await system.current() is before
    path.write_text("nameserver 10.0.0.9\nsearch a.test\n")
    after = await system.current()
    assert [str(domain) for domain in after.domains] == ["a.test."]
    path.write_text("# nobody\n")
    assert await system.current() is after
    path.unlink()
    assert await system.current() is after
    assert caplog.text.count("keeping the name servers that were configured before") == 2


@pytest.mark.parametrize("text", [None, "", "search a.test\n", "nameserver dns.acme\n"])
async def test_a_file_without_name_servers_is_named_in_the_error(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(QuestionError, match=str(path)):
        await System(DnsSettings(resolv_conf=str(path))).current()
    servers = await System(DnsSettings(resolv_conf=str(path), nameservers=("10.0.0.1",), search=())).current()
    assert servers.ndots == 1


def test_the_readme_tells_every_option_with_its_default() -> None:
    readme = Path(__file__).parents[1] / "README.md"
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \|", readme.read_text(), re.MULTILINE)
    assert {name: ast.literal_eval(default) for name, default in rows} == dataclasses.asdict(DnsSettings())
