"""One plugin: what is known of it, and the checks that it must pass."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from elanus import hookspecs
from elanus.contracts.provider import Provider
from elanus.errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution

__all__ = [
    "KINDS",
    "PluginRecord",
    "UnusableError",
    "check_core_version",
    "check_hooks",
    "checked_providers",
    "fault_of",
    "has_hooks",
    "unusable",
    "wrong_result",
]

#: Each kind of capability, with the hook that offers it and its contract.
KINDS: Mapping[str, tuple[str, str, str]] = {
    "codec": ("elanus_codecs", "elanus.contracts.codec", "Codec"),
    "transport": ("elanus_transports", "elanus.contracts.transport", "Transport"),
    "registry": ("elanus_registries", "elanus.contracts.registry", "Registry"),
    "resolver": ("elanus_resolvers", "elanus.contracts.resolver", "Resolver"),
    "balancer": ("elanus_balancers", "elanus.contracts.balancer", "Balancer"),
    "breaker": ("elanus_breakers", "elanus.contracts.breaker", "Breaker"),
    "limiter": ("elanus_limiters", "elanus.contracts.limiter", "Limiter"),
    "retrier": ("elanus_retriers", "elanus.contracts.retrier", "Retrier"),
    "tracer": ("elanus_tracers", "elanus.contracts.tracer", "Tracer"),
    "config": ("elanus_configs", "elanus.contracts.config", "Config"),
}


@dataclass(slots=True, eq=False)
class PluginRecord:
    """What is known of one plugin: what ``elanus plugins`` shows."""

    name: str
    distribution: str = ""
    version: str = ""
    plugin: Any = None
    #: Whether its contributions run: it was named, not merely installed. For all of the process, that is; what a single
    #: client or server names is active there only.
    active: bool = False
    #: What it offers: kind to names.
    offers: dict[str, list[str]] = field(default_factory=dict)
    #: Why it, or one of its hooks, does not work; the others do.
    faults: list[Exception] = field(default_factory=list)

    @property
    def state(self) -> str:
        """``"broken"`` (not loaded), ``"faulty"`` (part of it fails), ``"active"`` (named) or ``"available"``."""
        if self.plugin is None:
            return "broken"
        if self.faults:
            return "faulty"
        return "active" if self.active else "available"

    @property
    def unusable(self) -> bool:
        """Whether nothing of it can be used, so that even what it offers is unknown."""
        return self.plugin is None or any(isinstance(fault, UnusableError) for fault in self.faults)

    @property
    def kinds(self) -> list[str]:
        """The kinds that it offers, by the hooks that it implements."""
        if self.plugin is None:
            return []
        return [kind for kind, (hook, _, _) in KINDS.items() if hasattr(self.plugin, hook)]

    def may_offer(self, kind: str, name: str) -> bool:
        """Whether this plugin, which has faults, may be the one that was to offer *name*: by kind or by name."""
        if not self.unusable:
            return kind in self.kinds
        called = f"{self.name} {self.distribution}".replace("-", "_")
        return kind in called or name in called

    def is_home_of(self, name: str) -> bool:
        """Whether the distribution is named after *name*: ``elanus-balancer-weighted`` after ``weighted_random``."""
        own = self.distribution.replace("-", "_").removeprefix("elanus_").partition("_")[2]
        return bool(own) and (name == own or name.startswith(f"{own}_"))

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"plugin {self.name!r}{origin}"


_NAME = re.compile(r"[a-z][a-z0-9_]*")


class UnusableError(PluginError):
    """A fault of the whole plugin: it is not registered, none of its hooks runs."""


def fault_of(record: PluginRecord, what: str, error: BaseException) -> PluginError:
    fault = PluginError(f"{record} {what}: {type(error).__name__}: {error}")
    fault.__cause__ = error
    return fault


def unusable(record: PluginRecord, error: BaseException) -> PluginError:
    fault = UnusableError(f"{record} cannot be registered: {error}")
    fault.__cause__ = error
    return fault


def wrong_result(record: PluginRecord, hook: str, wanted: str, got: object) -> PluginError:
    return PluginError(
        f"{record}: {hook}() returned {type(got).__name__}, not {wanted}",
        hint="Tell its author; the hook's reference says what it returns",
    )


def check_hooks(record: PluginRecord, plugin: Any) -> None:
    """Refuse what pluggy would take silently: misspelt, unmarked, asynchronous and wrapping implementations."""
    for name in dir(plugin):
        function = getattr(plugin, name, None)
        if not inspect.isroutine(function):
            continue
        marks = getattr(function, f"{hookspecs.PROJECT}_impl", None)
        if not isinstance(marks, Mapping):  # no mark, or an object that answers to every name
            marks = None
            if not name.startswith("elanus_"):
                continue
        hook = (marks or {}).get("specname") or name
        if not (hook.startswith("elanus_") and hasattr(hookspecs, hook)):
            raise UnusableError(f"{record} implements {hook}(), which is no hook", hint=_nearest_hook(hook))
        if marks is None:
            raise UnusableError(f"{record}: {name}() is not marked", hint="Put @elanus.hookimpl above it")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise UnusableError(f"{record}: {name}() is async", hint="Hooks run while building; make it a plain def")
        if marks.get("wrapper") or marks.get("hookwrapper"):
            raise UnusableError(
                f"{record}: {name}() is a hook wrapper", hint="Wrappers are refused; use a plain hookimpl"
            )
        _check_arguments(record, hook, function)


def _check_arguments(record: PluginRecord, hook: str, function: Any) -> None:
    """pluggy checks this too, and says it in its own words."""
    allowed = list(inspect.signature(getattr(hookspecs, hook)).parameters)
    asked = [name for name in inspect.signature(function).parameters if name != "self"]
    wrong = [name for name in asked if name not in allowed]
    if wrong:
        may = f"It may take: {', '.join(allowed)}" if allowed else "It takes none"
        raise UnusableError(f"{record}: {hook}() has no argument {wrong[0]!r}", hint=may)


def has_hooks(plugin: Any) -> bool:
    """Whether anything of *plugin* is marked as a hook implementation."""
    mark = f"{hookspecs.PROJECT}_impl"
    return any(isinstance(getattr(getattr(plugin, name, None), mark, None), Mapping) for name in dir(plugin))


def _nearest_hook(name: str) -> str:
    hooks = [hook for hook in dir(hookspecs) if hook.startswith("elanus_")]
    near = difflib.get_close_matches(name, hooks, 1)
    return f"Did you mean {near[0]}()?" if near else f"The hooks are: {', '.join(hooks)}"


def checked_providers(record: PluginRecord, kind: str, providers: Any) -> Iterator[Provider[Any]]:
    hook = KINDS[kind][0]
    if not isinstance(providers, Sequence) or isinstance(providers, str):
        record.faults.append(wrong_result(record, hook, "a sequence of Provider", providers))
        return
    for provider in providers:
        if not isinstance(provider, Provider) or not isinstance(provider.name, str):
            record.faults.append(wrong_result(record, hook, "a sequence of Provider", [provider]))
        elif not _NAME.fullmatch(provider.name):
            fault = f"{record}: {kind} {provider.name!r} is no name"
            record.faults.append(PluginError(fault, hint="Use lower-case letters, digits and _, a letter first"))
        else:
            yield provider


def check_core_version(record: PluginRecord, distribution: Distribution | None) -> None:
    if distribution is None:
        return
    from importlib.metadata import version

    from packaging.requirements import Requirement

    installed = version("elanus")
    for text in distribution.requires or ():
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra, or for another platform
        if requirement.name.lower() == "elanus" and not requirement.specifier.contains(installed, prereleases=True):
            raise PluginError(
                f"{record} needs elanus {requirement.specifier}, and {installed} is installed",
                hint=f"Try: pip install 'elanus{requirement.specifier}', or another version of {record.distribution}",
            )
