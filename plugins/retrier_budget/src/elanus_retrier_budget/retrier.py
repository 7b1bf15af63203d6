"""The retrier ``budget``: a policy per method, a breaker per method, and a budget for all."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from elanus.contracts.retrier import RETRY_MARK, Plan, Retrier
from elanus.errors import ConfigError
from elanus_retrier_budget.budget import DEFAULT_BUDGET, Budget, Purse
from elanus_retrier_budget.plans import BackupPlan, FailurePlan, Lane, MixedPlan, RefusedPlan
from elanus_retrier_budget.policies import DEFAULT_POLICY, FailurePolicy, Kind, Policy, RetryOn
from elanus_retrier_budget.schema import from_json, kind_name, read_document, to_json
from elanus_retrier_budget.settings import BudgetSettings
from elanus_retrier_budget.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from elanus.call import Call
    from elanus.service import MethodInfo

__all__ = ["EVERY_METHOD", "BudgetRetrier"]

#: The key of the policy for methods without one of their own. Source: Kitex ``pkg/retry/util.go`` (``Wildcard``).
EVERY_METHOD = "*"

_PLANS: dict[Kind, type[FailurePlan] | type[BackupPlan] | type[MixedPlan]] = {
    Kind.FAILURE: FailurePlan,
    Kind.BACKUP: BackupPlan,
    Kind.MIXED: MixedPlan,
}
_TIMEOUTS = RetryOn()


class BudgetRetrier(Retrier):
    """Further attempts as policies say, and no more than a budget allows. Kitex's retry container, made pure. ::

        BudgetRetrier(MixedPolicy(delay=0.05), methods={"pay": None, "find": FailurePolicy(on=ALL_ERRORS)})

    Give each client one of its own: it keeps what it learns by method.

    :param policy: for every method that has none of its own; ``None``: those get a single attempt.
    :param methods: policies by method, or by whatever *key* returns; ``None``: a single attempt.
    :param on: which outcomes are worth another attempt, in place of what the failure and mixed policies say, those of
        :meth:`update` included (Kitex's ``WithSpecifiedResultRetry``).
    :param budget: over all methods; ``None``: no bound but the breakers.
    :param percentage_limit: what the breaker of a method counts. ``True``, as Kitex's clients do by default: first
        attempts as good and further ones as bad, so that further ones stay below the policy's ``error_rate``.
        ``False``: attempts that fail as bad.
    :param key: of a call, instead of the name of its method.
    :param seed: makes pauses foreseeable.
    """

    name = "budget"

    def __init__(
        self,
        policy: Policy | None = DEFAULT_POLICY,
        methods: Mapping[str, Policy | None] | None = None,
        *,
        on: RetryOn | None = None,
        budget: Budget | None = DEFAULT_BUDGET,
        percentage_limit: bool = True,
        key: Callable[[Call], str] | None = None,
        seed: int | None = None,
    ) -> None:
        given = dict(methods or {})
        for each in (policy, *given.values()):
            _check(each)
        #: Whether it was made with a policy, which no policy from outside replaces.
        self.set_in_code = any(each is not None and each is not DEFAULT_POLICY for each in (policy, *given.values()))
        if policy is not None:
            given.setdefault(EVERY_METHOD, policy)
        self._policies = given
        self._on = on
        self._key = key
        self._percentage_limit = percentage_limit
        self._random = Random(seed)
        self._purse = None if budget is None else Purse(budget)
        self._windows: dict[str, Window] = {}
        self._lanes: dict[MethodInfo | str, Lane | None] = {}
        #: What became of the last change of a policy, in Kitex's words.
        self.message = ""

    @classmethod
    def from_options(cls, options: Mapping[str, object]) -> BudgetRetrier:
        """The retrier for the options that a user gave with its name.

        :raises ConfigError: an option that it does not have, or one that makes no sense.
        """
        return cls(**BudgetSettings.read(options).arguments())

    def with_policy(self, policy: Policy | None) -> BudgetRetrier:
        """A retrier of this one policy that draws on the same budget and breakers: for
        ``client.with_options(retrier=retrier.with_policy(...))``. The policy's own predicate counts.
        """
        other = BudgetRetrier(policy, budget=None, percentage_limit=self._percentage_limit, key=self._key)
        other._random, other._purse, other._windows = self._random, self._purse, self._windows
        return other

    def plan(self, call: Call, now: float) -> Plan | None:
        key = call.method if self._key is None else self._key(call)
        try:
            lane = self._lanes[key]
        except KeyError:
            lane = self._lanes[key] = self._lane(key if isinstance(key, str) else key.name)
        if lane is None:
            return None
        policy = lane.policy
        if policy.chain_stop and RETRY_MARK in call.metadata.persistent:
            return RefusedPlan(lane.on, "chain stop retry")
        return _PLANS[policy.kind](lane, now)

    def _lane(self, key: str) -> Lane | None:
        policy = self._policies.get(key) if key in self._policies else self._policies.get(EVERY_METHOD)
        if policy is None or policy.max_retry_times == 0:
            return None
        on = (self._on or policy.on) if isinstance(policy, FailurePolicy) else _TIMEOUTS
        window = self._windows.setdefault(key, Window())
        return Lane(policy, on, window, self._purse, self._random, percentage_limit=self._percentage_limit)

    @property
    def policies(self) -> Mapping[str, Policy | None]:
        """The policies in force, by key."""
        return dict(self._policies)

    def update(self, key: str, policy: Policy | str | Mapping[str, Any] | None, *, remote: bool = False) -> bool:
        """From the next call on, let *policy* hold for *key*: a method, or ``"*"``. What was counted stays.

        :param policy: or its JSON, as text or read. ``None``, or JSON that is not enabled: a single attempt.
        :param remote: it comes from a source of configuration. As in Kitex it is ignored when code has set a policy.
        :returns: whether it holds now.
        :raises ConfigError: it cannot be used; what held before holds on.
        """
        self.message = ""
        if remote and self.set_in_code:
            return False
        document = None if policy is None or isinstance(policy, Policy) else read_document(policy)
        number = _number(policy, document)
        try:
            chosen = policy if isinstance(policy, Policy) else None if document is None else from_json(document)
        except ConfigError as error:
            self.message = f"new retryer[{key}-{kind_name(number)}] failed, err={error.message}"
            raise
        self.message = self._news(key, chosen, kind_name(number))
        self._policies[key] = chosen
        self._lanes.clear()
        return True

    def _news(self, key: str, policy: Policy | None, kind: str) -> str:
        if policy is None:
            return f"disable retryer[{key}-{kind}](enable=false)"
        before = self._policies.get(key)
        return f"{'update' if before is not None and before.kind is policy.kind else 'new'} retryer[{key}-{kind}]"

    def delete(self, key: str, *, remote: bool = False) -> bool:
        """From the next call on, let no policy hold for *key* itself; ``"*"`` then does, if it has one.

        :returns: whether something was taken away.
        """
        self.message = ""
        if (remote and self.set_in_code) or key not in self._policies:
            return False
        del self._policies[key]
        self._lanes.clear()
        self.message = f"delete retryer[{key}]"
        return True

    def dump(self) -> dict[str, Any]:
        """Everything there is to tell about the policies, ready for :func:`json.dumps`."""
        return {
            "has_code_cfg": self.set_in_code,
            "msg": self.message,
            "policies": {key: to_json(policy) for key, policy in self._policies.items()},
        }


def _check(policy: object) -> None:
    if policy is not None and not isinstance(policy, Policy):
        raise ConfigError(f"{policy!r} is no retry policy", hint="Give a FailurePolicy, BackupPolicy or MixedPolicy")


def _number(policy: object, document: Mapping[str, Any] | None) -> object:
    """Kitex's number for the kind of a policy, whether or not there is one of that number."""
    if isinstance(policy, Policy):
        return policy.kind
    return Kind.FAILURE if document is None else document.get("type", Kind.FAILURE)
