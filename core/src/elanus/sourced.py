"""Options that know who set each value, and which of two who want to set it wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from elanus.errors import ConfigError
from elanus.option_checks import refuse_unknown, tupled

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Sourced"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})

# Who set a value, weakest first. `with_defaults` and configuration give way to code, `replace` overrules it.
_DEFAULT, _PLUGIN_DEFAULT, _CONFIG, _CODE, _PLUGIN = range(5)
_HIDDEN = {"sources", "writer"}

_Options = TypeVar("_Options", bound="Sourced")


@dataclass(frozen=True)
class Sourced:
    """Options that know who set each value.

    An option in ``nested`` is a mapping to smaller options, of methods: each of their values has a source of its own,
    and whoever sets one leaves the others as they are.
    """

    #: Pairs of options of which only one can be set: the default of one gives way to an explicit other one.
    rivals: ClassVar[Mapping[str, str]] = _NOTHING
    #: Options that are mappings, with the class of the mapping's values.
    nested: ClassVar[Mapping[str, type]] = _NOTHING
    #: Options that count when the thing is built or started: a change while it runs needs a restart.
    fixed: ClassVar[frozenset[str]] = frozenset()

    sources: Mapping[str, tuple[int, str]] = field(default_factory=lambda: _NOTHING, repr=False, compare=False)
    writer: str = field(default="a plugin", repr=False, compare=False)

    @classmethod
    def names(cls) -> list[str]:
        """The names of all options of this class, in the order of the reference."""
        return [item.name for item in fields(cls) if item.name not in _HIDDEN]

    @classmethod
    def from_code(cls: type[_Options], values: Mapping[str, Any]) -> _Options:
        """Options as code sets them; the rest are defaults.

        :raises ConfigError: an unknown name (with the nearest known one), or a value out of range.
        """
        refuse_unknown("option", values, cls.names())
        return cls()._written(values, _CODE, "code")

    def with_defaults(self: _Options, **values: Any) -> _Options:
        """A copy in which *values* are set, except those that code set explicitly or another plugin overruled."""
        refuse_unknown("option", values, self.names())
        return self._written(values, _PLUGIN_DEFAULT, f"default of {self.writer}")

    def replace(self: _Options, **values: Any) -> _Options:
        """A copy in which *values* are set, whoever set them before."""
        refuse_unknown("option", values, self.names())
        return self._written(values, _PLUGIN, f"set by {self.writer}")

    def configured(self: _Options, values: Mapping[str, Any], source: str) -> _Options:
        """A copy in which *values* of a configuration source are set, except those that code or a plugin's
        ``replace`` set: what code says explicitly holds.

        :param source: where they stand, for instance ``"elanus.toml:12"``.
        """
        refuse_unknown("option", values, self.names())
        return self._written(values, _CONFIG, source)

    def kept(self: _Options, names: frozenset[str], previous: _Options) -> _Options:
        """A copy in which the options of these *names* are as in *previous*, sources included."""
        sources = {name: source for name, source in self.sources.items() if name not in names}
        sources |= {name: source for name, source in previous.sources.items() if name in names}
        values = {name: getattr(previous, name) for name in names}
        return replace(self, **values, sources=MappingProxyType(sources))

    def source(self, name: str) -> str:
        """Who set *name*: ``"default"``, ``"code"``, ``"default of <plugin>"``, ``"set by <plugin>"``, or a place in a
        configuration, such as ``"elanus.toml:12"``.
        """
        refuse_unknown("option", [name], self.names())
        return self._source(name)[1]

    def effective(self) -> dict[str, tuple[Any, str]]:
        """Every option with its value and where that came from."""
        return {name: (getattr(self, name), self.source(name)) for name in self.names()}

    def differences(self: _Options, newer: _Options) -> dict[str, tuple[Any, Any, str]]:
        """What is other in *newer*, by option: the value here, the value there, and who set that. An option of a method
        is called ``"methods.<method>.<option>"``.
        """
        found = {}
        for place in dict.fromkeys([*self.places(), *newer.places()]):
            old, new = self.value_at(place), newer.value_at(place)
            if old != new:
                found[place] = (old, new, newer._source(place)[1])
        return found

    def places(self) -> list[str]:
        """The names of all options, and in place of a mapping those of its entries' options that are set."""
        found = []
        for name in self.names():
            if name not in self.nested:
                found.append(name)
                continue
            for key, options in getattr(self, name).items():
                every = [item.name for item in fields(options)]
                found += [f"{name}.{key}.{each}" for each in every if getattr(options, each) is not None]
        return found

    def value_at(self, place: str) -> Any:
        """The value of one of :meth:`places`; ``None`` where nothing is set."""
        name, dot, rest = place.partition(".")
        if not dot:
            return getattr(self, name)
        key, _, each = rest.rpartition(".")
        return getattr(getattr(self, name).get(key), each, None)

    def configured_at(self, place: str) -> str | None:
        """Where a configuration source has the value of one of :meth:`places`; ``None``: it comes from elsewhere."""
        rank, source = self._source(place)
        return source if rank == _CONFIG else None

    def written_by(self: _Options, writer: str) -> _Options:
        """A copy that notes *writer* as the source of what is set on it next."""
        return replace(self, writer=writer)

    def _source(self, place: str) -> tuple[int, str]:
        return self.sources.get(place, (_DEFAULT, "default"))

    def _may_set(self, place: str, rank: int) -> bool:
        return rank >= max(self._source(each)[0] for each in (place, self.rivals.get(place, place)))

    def _beats(self, name: str, rank: int) -> bool:
        """Whether an explicit *name* makes a weaker one of its rival void."""
        rival = self.rivals.get(name)
        return rival is not None and _DEFAULT < self._source(rival)[0] < rank

    def _default(self, name: str) -> Any:
        return next(item.default for item in fields(self) if item.name == name)

    def _written(self: _Options, values: Mapping[str, Any], rank: int, source: str) -> _Options:
        """A copy with those of *values* that nobody of a higher *rank* has set."""
        given = tupled(type(self), values)
        written = {
            name: value for name, value in given.items() if name not in self.nested and self._may_set(name, rank)
        }
        written |= {self.rivals[name]: self._default(self.rivals[name]) for name in written if self._beats(name, rank)}
        sources = dict.fromkeys(written, (rank, source))
        for name in given.keys() & self.nested.keys():
            merged, places = self._merged(name, given[name], rank)
            if places or merged != getattr(self, name):
                written[name] = merged
                sources |= dict.fromkeys([name, *places], (rank, source))
        if not sources:
            return self
        return replace(self, **written, sources=MappingProxyType({**self.sources, **sources}))

    def _merged(self, name: str, given: Any, rank: int) -> tuple[Mapping[str, Any], list[str]]:
        """What the mapping *name* becomes, and the places of the values that are new in it."""
        cls = self.nested[name]
        merged, places = dict(getattr(self, name)), []
        for key, options in _checked(name, given, cls):
            new = {}
            for each, value in options.items():
                place = f"{name}.{key}.{each}"
                if self._may_set(place, rank):
                    new[each] = value
                    places.append(place)
            merged[key] = replace(merged.get(key, cls()), **new)
        return MappingProxyType(merged), places


def _checked(name: str, given: Any, cls: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """The entries of a mapping to options of class *cls*, each as the values that it sets."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"option {name!r} is {given!r}", hint=f"Give a mapping of names to elanus.{cls.__name__}")
    for key, options in given.items():
        if isinstance(options, cls):
            assert is_dataclass(options)
            every = {item.name: getattr(options, item.name) for item in fields(options)}
            yield key, {each: value for each, value in every.items() if value is not None}
        elif isinstance(options, Mapping):
            refuse_unknown(f"option of method {key!r}:", options, [item.name for item in fields(cls)])
            yield key, {each: value for each, value in options.items() if value is not None}
        else:
            raise ConfigError(f"{name}[{key!r}] is {options!r}", hint=f"Give an elanus.{cls.__name__}, or a dict")
