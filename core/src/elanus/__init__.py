"""elanus: a plugin-based RPC framework that speaks the wire formats of CloudWeGo Kitex.

The names an application needs, loaded when they are first used. Contracts for plugin authors are in
:mod:`elanus.contracts`, hooks in :mod:`elanus.hookspecs`, the test kit in :mod:`elanus.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus.call import Call as Call
    from elanus.call import current_call as current_call
    from elanus.call import shield as shield
    from elanus.client import Client as Client
    from elanus.contracts.fallback import Fallback as Fallback
    from elanus.contracts.metadata import MetadataHandler as MetadataHandler
    from elanus.contracts.provider import Provider as Provider
    from elanus.endpoint import Endpoint as Endpoint
    from elanus.endpoint import Middleware as Middleware
    from elanus.errors import AclError as AclError
    from elanus.errors import ApplicationError as ApplicationError
    from elanus.errors import BizStatusError as BizStatusError
    from elanus.errors import CircuitOpenError as CircuitOpenError
    from elanus.errors import CodecError as CodecError
    from elanus.errors import ConfigError as ConfigError
    from elanus.errors import ConnectFailedError as ConnectFailedError
    from elanus.errors import ConnectionLostError as ConnectionLostError
    from elanus.errors import DiscoveryError as DiscoveryError
    from elanus.errors import ElanusError as ElanusError
    from elanus.errors import LimitExceededError as LimitExceededError
    from elanus.errors import LocalProtocolError as LocalProtocolError
    from elanus.errors import NoInstanceError as NoInstanceError
    from elanus.errors import PluginError as PluginError
    from elanus.errors import ProtocolError as ProtocolError
    from elanus.errors import RejectedError as RejectedError
    from elanus.errors import RemoteError as RemoteError
    from elanus.errors import RemoteProtocolError as RemoteProtocolError
    from elanus.errors import RpcCancelledError as RpcCancelledError
    from elanus.errors import RpcTimeoutError as RpcTimeoutError
    from elanus.errors import StateError as StateError
    from elanus.errors import TransportError as TransportError
    from elanus.hookspecs import hookimpl as hookimpl
    from elanus.hookspecs import hookspec as hookspec
    from elanus.idl import load as load
    from elanus.limits import Limits as Limits
    from elanus.metadata import Metadata as Metadata
    from elanus.options import CallOptions as CallOptions
    from elanus.options import ClientOptions as ClientOptions
    from elanus.options import HandlerOptions as HandlerOptions
    from elanus.options import MethodOptions as MethodOptions
    from elanus.options import PoolOptions as PoolOptions
    from elanus.options import ServerOptions as ServerOptions
    from elanus.options import Timeouts as Timeouts
    from elanus.options import WarmUp as WarmUp
    from elanus.plugins import register as register
    from elanus.plugins import unregister as unregister
    from elanus.priority import Priority as Priority
    from elanus.result import Result as Result
    from elanus.server import Server as Server
    from elanus.service import Instance as Instance
    from elanus.service import MethodInfo as MethodInfo
    from elanus.service import MethodKind as MethodKind
    from elanus.service import ServiceInfo as ServiceInfo
    from elanus.streams import ClientStream as ClientStream
    from elanus.timeline import Timeline as Timeline

__version__ = "0.1.0"

_HOMES = {
    "AclError": "errors",
    "ApplicationError": "errors",
    "BizStatusError": "errors",
    "Call": "call",
    "CallOptions": "options",
    "CircuitOpenError": "errors",
    "Client": "client",
    "ClientOptions": "options",
    "ClientStream": "streams",
    "CodecError": "errors",
    "ConfigError": "errors",
    "ConnectFailedError": "errors",
    "ConnectionLostError": "errors",
    "DiscoveryError": "errors",
    "ElanusError": "errors",
    "Endpoint": "endpoint",
    "Fallback": "contracts.fallback",
    "HandlerOptions": "options",
    "Instance": "service",
    "LimitExceededError": "errors",
    "Limits": "limits",
    "LocalProtocolError": "errors",
    "Metadata": "metadata",
    "MetadataHandler": "contracts.metadata",
    "MethodInfo": "service",
    "MethodOptions": "options",
    "MethodKind": "service",
    "Middleware": "endpoint",
    "NoInstanceError": "errors",
    "PluginError": "errors",
    "PoolOptions": "options",
    "Priority": "priority",
    "ProtocolError": "errors",
    "Provider": "contracts.provider",
    "RejectedError": "errors",
    "RemoteError": "errors",
    "RemoteProtocolError": "errors",
    "Result": "result",
    "RpcCancelledError": "errors",
    "RpcTimeoutError": "errors",
    "Server": "server",
    "ServerOptions": "options",
    "ServiceInfo": "service",
    "StateError": "errors",
    "Timeline": "timeline",
    "Timeouts": "options",
    "TransportError": "errors",
    "WarmUp": "options",
    "current_call": "call",
    "hookimpl": "hookspecs",
    "hookspec": "hookspecs",
    "load": "idl",
    "register": "plugins",
    "shield": "call",
    "unregister": "plugins",
}

__all__ = sorted(_HOMES)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'elanus' has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"elanus.{home}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]
