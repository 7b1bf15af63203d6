"""The limiter: which rules a call meets, and that it passes all of them or draws from none."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from elanus.contracts.limiter import Limiter, Refusal
from elanus_limiter_token.gates import Gate
from elanus_limiter_token.settings import Rule, TokenSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from elanus.call import Call

__all__ = ["Level", "TokenLimiter"]

_EACH = "*"
#: Callers that were quiet longest, of which one is looked for whose limits are as good as new.
_LOOK_AT = 4


@dataclass(frozen=True, slots=True)
class Level:
    """How far one rule is used.

    :param in_flight: calls that have passed and are not over.
    :param concurrency: how many there may be; ``None`` is unlimited.
    :param tokens: calls that might have passed at the last look; ``None`` where ``qps`` is unlimited.
    :param qps: calls a second; ``None`` is unlimited.
    """

    in_flight: int
    concurrency: int | None
    tokens: float | None
    qps: float | None


class TokenLimiter(Limiter):
    """Limits on calls a second, calls in flight and connections, for the server and for each of its users. ::

        TokenLimiter(
            qps=1000,
            concurrency=200,
            connections=5000,
            per_method={"EchoService/echo": {"qps": 100}},
            per_caller={"*": {"qps": 50}, "batch": {"qps": 5, "concurrency": 1}},
        )

    A call passes when all rules that it meets let it; when one refuses, none has lost a token. Nothing is queued.

    :param options: see :class:`~elanus_limiter_token.settings.TokenSettings`.
    :raises ConfigError: an option is unknown, or makes no sense.
    """

    name = "token"

    def __init__(self, **options: Any) -> None:
        self._gates: dict[tuple[str, str], Gate] = {}
        #: By service and method: the gates that do not depend on the caller.
        self._paths: dict[tuple[str, str], tuple[Gate, ...]] = {}
        #: Callers that only ``"*"`` names, the one that was quiet longest first.
        self._callers: OrderedDict[str, Gate] = OrderedDict()
        self._held: dict[Call, tuple[Gate, ...]] = {}
        self._connections = 0
        self._now = 0.0
        self._apply(TokenSettings.read(options))

    @property
    def settings(self) -> TokenSettings:
        """The limits in force."""
        return self._settings

    @property
    def connections(self) -> int:
        """Open connections that were admitted."""
        return self._connections

    def levels(self) -> dict[str, Level]:
        """How far each rule that a call has met so far is used: ``"server"``, ``"per_method[echo]"``."""
        gates = {f"{table}[{key}]" if key else table: gate for (table, key), gate in self._gates.items()}
        gates |= {f"per_caller[{caller}]": gate for caller, gate in self._callers.items()}
        return {name: _level(gate) for name, gate in gates.items()}

    def update(self, **options: Any) -> None:
        """Change limits while the server runs: those that are given; the others stay. A table of rules is replaced as a
        whole. Calls in flight still count, and tokens are kept as far as the new burst has room.

        :raises ConfigError: an option is unknown, or makes no sense. Then nothing has changed.
        """
        self._apply(self._settings.changed(options))

    def _apply(self, settings: TokenSettings) -> None:
        self._settings = settings
        self._paths.clear()
        for (table, key), gate in list(self._gates.items()):
            name, rule = self._rule(table, key)
            if rule is None:
                del self._gates[table, key]
            else:
                gate.set(name, rule, self._now, cut=settings.cut)
        each = settings.per_caller.get(_EACH)
        if each is None:
            self._callers.clear()
        else:
            for gate in self._callers.values():
                gate.set(f"per_caller[{_EACH}]", each, self._now, cut=settings.cut)
        most = settings.connections or 0
        self._full = Refusal("connections", most, f"too many connections (connections = {most})") if most > 0 else None

    # Connections

    def admit(self, peer: str, now: float) -> Refusal | None:
        if self._full is not None and self._connections >= self._full.value:  # type: ignore[operator]  # it has one
            return self._full
        self._connections += 1
        return None

    def left(self, peer: str, now: float) -> None:
        self._connections -= 1

    # Calls

    def acquire(self, call: Call, now: float) -> Refusal | None:
        self._now = now
        key = (call.service.name, call.method.name)
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = self._path(*key, now)
        if self._settings.per_caller:
            gate = self._of_caller(call.caller, now)
            if gate is not None:
                path = (*path, gate)
        for gate in path:
            refusal = gate.refusal(now)
            if refusal is not None:
                return refusal
        for gate in path:
            gate.take()
        self._held[call] = path
        return None

    def release(self, call: Call, error: BaseException | None, elapsed: float, now: float) -> None:
        for gate in self._held.pop(call):
            gate.in_flight -= 1

    def _path(self, service: str, method: str, now: float) -> tuple[Gate, ...]:
        """The gates of a method, in the order of the rules: server, service, method."""
        methods = self._settings.per_method
        full = f"{service}/{method}"
        named = full if full in methods or method not in methods else method
        gates = (
            self._gate("server", "", now),
            self._gate("per_service", service, now),
            self._gate("per_method", named, now),
        )
        return tuple(gate for gate in gates if gate is not None)

    def _of_caller(self, caller: str, now: float) -> Gate | None:
        rules = self._settings.per_caller
        if caller in rules or _EACH not in rules:
            return self._gate("per_caller", caller, now)
        gate = self._callers.get(caller)
        if gate is not None:
            self._callers.move_to_end(caller)
            return gate
        if len(self._callers) >= self._settings.callers and not self._forget_one(now):
            return self._gate("per_caller", _EACH, now)
        name, rule = self._rule("per_caller", caller)
        assert rule is not None
        gate = self._callers[caller] = Gate(name, rule, now, cut=self._settings.cut)
        return gate

    def _forget_one(self, now: float) -> bool:
        """Make room for a caller, if there is one whose limits, made anew, would be no wider than they are."""
        for _ in range(min(_LOOK_AT, len(self._callers))):
            caller, gate = next(iter(self._callers.items()))
            if gate.forgettable(now):
                del self._callers[caller]
                return True
            self._callers.move_to_end(caller)
        return False

    def _gate(self, table: str, key: str, now: float) -> Gate | None:
        """The gate of what is named so, made when it is first met; ``None`` when no rule is about it."""
        gate = self._gates.get((table, key))
        if gate is None:
            name, rule = self._rule(table, key)
            if rule is not None:
                gate = self._gates[table, key] = Gate(name, rule, now, cut=self._settings.cut)
        return gate

    def _rule(self, table: str, key: str) -> tuple[str, Rule | None]:
        """The rule for what is named so, and the name by which it refuses."""
        if table == "server":
            return "", self._settings.server
        rules: Mapping[str, Rule] = getattr(self._settings, table)
        written = key if key in rules else _EACH
        return f"{table}[{written}]", rules.get(written)


def _level(gate: Gate) -> Level:
    return Level(
        in_flight=gate.in_flight,
        concurrency=gate.concurrency or None,
        tokens=gate.tokens if gate.qps else None,
        qps=gate.qps or None,
    )
