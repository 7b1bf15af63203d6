"""A house default for every server and client of this process: which registry, under which name.

Used with `elanus serve ... -p examples.discovery`, or `elanus.register("examples.discovery")`. The registry is chosen
by the environment: REGISTRY (file, etcd, consul), and REGISTRY_OPTIONS, a JSON object of its options.
"""

import json
import os

import elanus

NAME = "examples.echo"


def _choice() -> tuple[str, dict[str, object]]:
    return os.environ.get("REGISTRY", "file"), json.loads(os.environ.get("REGISTRY_OPTIONS", "{}"))


@elanus.hookimpl
def elanus_configure_server(options: elanus.ServerOptions) -> elanus.ServerOptions:
    """Announce every server, unless its code says otherwise."""
    return options.with_defaults(registry=_choice(), name=NAME)


@elanus.hookimpl
def elanus_configure_client(service: elanus.ServiceInfo, options: elanus.ClientOptions) -> elanus.ClientOptions | None:
    """Let every client look its instances up, unless its code gives addresses."""
    return None if options.targets else options.with_defaults(resolver=_choice(), name=NAME)
