"""A house default for every server and client of this process: which registry, under which name.

Used with `elanus serve ... -p examples.discovery`, or `elanus.register("examples.discovery")`. The registry is chosen
by the environment: REGISTRY (file, etcd, consul), REGISTRY_OPTIONS, a JSON object of options that servers and clients
share, and REGISTER_OPTIONS, of those that only servers have.
"""

import json
import os

import elanus

NAME = "examples.echo"


def _choice(*variables: str) -> tuple[str, dict[str, object]]:
    options: dict[str, object] = {}
    for variable in variables:
        options.update(json.loads(os.environ.get(variable, "{}")))
    return os.environ.get("REGISTRY", "file"), options


@elanus.hookimpl
def elanus_configure_server(options: elanus.ServerOptions) -> elanus.ServerOptions:
    """Announce every server, unless its code says otherwise."""
    return options.with_defaults(registry=_choice("REGISTRY_OPTIONS", "REGISTER_OPTIONS"), name=NAME)


@elanus.hookimpl
def elanus_configure_client(service: elanus.ServiceInfo, options: elanus.ClientOptions) -> elanus.ClientOptions | None:
    """Let every client look its instances up, unless its code gives addresses."""
    return None if options.targets else options.with_defaults(resolver=_choice("REGISTRY_OPTIONS"), name=NAME)
