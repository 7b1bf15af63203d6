"""What Kitex's own tests assert: ``kitex-tests thriftrpc/retrycall/{retrycall,percentage_limit}_test.go``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import elanus
from elanus_retrier_budget import ALL_ERRORS, BackupPolicy, BudgetRetrier, FailurePolicy, RetryOn


def broken(outcomes: list[str]) -> int:
    return sum("retry circuit break" in outcome for outcome in outcomes)


def test_retry_breaker_300_attempts_30_errors(shop: Any, virtual: Any) -> None:
    # TestRetryCB: the container that counts failures; every tenth attempt runs out of its time.
    async def scenario() -> None:
        async def behave(number: int, call: elanus.Call) -> str:
            await asyncio.sleep(shop.slow if number % 10 == 9 else 0)
            return "reply"

        server, retrier = shop(behave), BudgetRetrier(FailurePolicy(), percentage_limit=False)
        async with server.client(retrier=retrier, attempt_timeout=shop.attempt_timeout) as client:
            outcomes = await shop.calls(client, 300)
        assert server.requests == 300
        assert broken(outcomes) == 30
        assert outcomes.count("ok") == 270
        assert "not tried again: retried 0, retry circuit break, errRate=0.100, sample=10" in outcomes[9]

    virtual(scenario())


def test_percentage_limit_333_attempts_58_errors(shop: Any, virtual: Any) -> None:
    # TestRetryCBPercentageLimit: every fifth call is slow, its retry as well; the share of retries stays below 0.1.
    async def scenario() -> None:
        async def behave(number: int, call: elanus.Call) -> str:
            await asyncio.sleep(shop.slow if call.metadata.transient.get("slow") else 0)
            return "reply"

        server = shop(behave)
        outcomes: list[str] = []
        async with server.client(retrier=BudgetRetrier(FailurePolicy()), attempt_timeout=0.04) as client:
            for number in range(300):
                metadata = {"slow": "yes"} if number % 5 == 0 else {}
                outcomes += await shop.calls(client, 1, metadata=metadata)
        assert server.requests == 333
        assert broken(outcomes) == 58

    virtual(scenario())


@pytest.mark.parametrize("timeout", [None, 0.040])
def test_250_of_250_with_one_of_ten_slow(shop: Any, virtual: Any, timeout: float | None) -> None:
    # TestNoCB: an error rate of 0.3. Kitex's test has no timeout, so that nothing is retried; here it is, as well.
    async def scenario() -> None:
        server, retrier = shop.slow_each(10), BudgetRetrier(FailurePolicy(error_rate=0.3))
        async with server.client(retrier=retrier, attempt_timeout=timeout) as client:
            assert await shop.calls(client, 251) == ["ok"] * 251
        assert (server.retries > 0) is (timeout is not None)

    virtual(scenario())


def test_chain_stop(shop: Any, virtual: Any) -> None:
    # TestRetry/TestNoRetry: the mark of a retry is in the metadata, so this hop leaves the retrying to the one above.
    async def scenario() -> None:
        server, retrier = shop.slow_each(10), BudgetRetrier(FailurePolicy(error_rate=0.3))
        marked = elanus.Metadata({}, {"RetryReq": "1"})
        async with server.client(retrier=retrier, attempt_timeout=shop.attempt_timeout) as client:
            outcomes = await shop.calls(client, 250, metadata=marked)
        for number, outcome in enumerate(outcomes):
            if number % 10 == 0:
                assert "no reply within 0.040 s" in outcome
                assert "chain stop retry" in outcome
            else:
                assert outcome == "ok"
        assert server.requests == 250

    virtual(scenario())


def test_chain_stop_can_be_switched_off(shop: Any, virtual: Any) -> None:
    async def scenario() -> None:
        server, retrier = shop.slow_each(10), BudgetRetrier(FailurePolicy(error_rate=0.3, chain_stop=False))
        marked = elanus.Metadata({}, {"RetryReq": "1"})
        async with server.client(retrier=retrier, attempt_timeout=shop.attempt_timeout) as client:
            assert await shop.calls(client, 250, metadata=marked) == ["ok"] * 250

    virtual(scenario())


def test_backup_request_300_of_300(shop: Any, virtual: Any) -> None:
    # TestRetry/TestBackupRequest: a delay of 5 ms. Kitex lets the slow one run on; here its server stops.
    async def scenario() -> None:
        server = shop.slow_each(10)
        retrier = BudgetRetrier(BackupPolicy(delay=0.005))
        async with server.client(retrier=retrier, attempt_timeout=shop.attempt_timeout) as client:
            assert await shop.calls(client, 300) == ["ok"] * 300
        assert server.retries == server.abandoned > 0
        assert server.requests == 300 + server.retries

    virtual(scenario())


def test_percentage_limit_of_backups(shop: Any, virtual: Any) -> None:
    # TestPercentageLimit: first attempts are slow, retries are not. 10/5, 50/5, 52/6, 53/6.
    async def scenario() -> None:
        server, retrier = slow_unless_retried(shop), BudgetRetrier(None)
        retrier.update("find", BackupPolicy(delay=0.010, error_rate=0.1))
        async with server.client(retrier=retrier) as client:
            assert await shop.calls(client, 5, attempt_timeout=0.040) == ["ok"] * 5
            assert (server.requests, server.retries) == (10, 5)
            for count, sent in [(40, (50, 5)), (1, (52, 6)), (1, (53, 6))]:
                await shop.calls(client, count, attempt_timeout=1.0)
                assert (server.requests, server.retries) == sent

    virtual(scenario())


def test_percentage_limit_after_an_update(shop: Any, virtual: Any) -> None:
    # TestPercentageLimitAfterUpdate: 52/6, and with a rate of 0.3 from then on 54/7.
    async def scenario() -> None:
        server, retrier = slow_unless_retried(shop), BudgetRetrier(None)
        retrier.update("find", BackupPolicy(delay=0.010, error_rate=0.1))
        async with server.client(retrier=retrier, attempt_timeout=1.0) as client:
            await shop.calls(client, 46)
            assert (server.requests, server.retries) == (52, 6)
            retrier.update("find", BackupPolicy(delay=0.010, error_rate=0.3))
            await shop.calls(client, 1)
            assert (server.requests, server.retries) == (54, 7)

    virtual(scenario())


def slow_unless_retried(shop: Any) -> Any:
    async def behave(number: int, call: elanus.Call) -> str:
        await asyncio.sleep(0 if call.retried else shop.slow)
        return "reply"

    return shop(behave)


def test_the_first_reply_is_not_changed_by_a_late_one(shop: Any, virtual: Any) -> None:
    # TestRetryRespOpIsolation: the attempt that lost must not touch the outcome.
    async def scenario() -> None:
        async def behave(number: int, call: elanus.Call) -> Any:
            await asyncio.sleep(0.030 if number == 0 else 0.005)
            call.send_back("from", str(number))
            return [f"reply {number}"]

        server = shop(behave)
        async with server.client(retrier=BudgetRetrier(BackupPolicy(delay=0.020))) as client:
            result = await client.invoke("find", "tea")
            await asyncio.sleep(1)
        assert result.reply == ["reply 1"]
        assert result.metadata == {"from": "1"}

    virtual(scenario())


def fails_first(shop: Any, error: Exception) -> Any:
    async def behave(number: int, call: elanus.Call) -> str:
        if not call.retried:
            raise error
        return "reply"

    return shop(behave)


def is_1000(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
    return isinstance(error, elanus.ApplicationError) and error.code == 1000 and error.message == "retry [biz error]"


def test_result_retry_by_error(shop: Any, virtual: Any) -> None:
    # TestRetryWithSpecifiedResultRetry: of the policy, of the client, of the call. The client's wins over the policy's.
    by_code, never = RetryOn(check=is_1000), RetryOn(check=lambda attempt, reply, error: False)

    async def scenario() -> None:
        server = fails_first(shop, elanus.ApplicationError(1000, "retry"))
        for retrier, outcome in [
            (BudgetRetrier(FailurePolicy()), "error 1000"),
            (BudgetRetrier(FailurePolicy(on=by_code)), "ok"),
            (BudgetRetrier(FailurePolicy(on=ALL_ERRORS)), "ok"),
            (BudgetRetrier(FailurePolicy(), on=by_code), "ok"),
            (BudgetRetrier(FailurePolicy(on=never), on=by_code), "ok"),
            (BudgetRetrier(FailurePolicy(on=by_code), on=never), "error 1000"),
            (BudgetRetrier(None, {"find": FailurePolicy(), "pay": None}, on=by_code), "ok"),
        ]:
            async with server.client(retrier=retrier) as client:
                (told,) = await shop.calls(client, 1)
                assert outcome in told

    virtual(scenario())


def test_result_retry_by_declared_exception(shop: Any, virtual: Any) -> None:
    async def scenario() -> None:
        def check(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
            return isinstance(error, shop.Problem) and error.message == "retry"

        server = fails_first(shop, shop.Problem("retry"))
        async with server.client(retrier=BudgetRetrier(FailurePolicy(on=RetryOn(check=check)))) as client:
            assert await client.find("tea") == "reply"
        server = fails_first(shop, shop.Problem("another"))
        async with server.client(retrier=BudgetRetrier(FailurePolicy(on=RetryOn(check=check)))) as client:
            with pytest.raises(shop.Problem):
                await client.find("tea")

    virtual(scenario())


def test_result_retry_by_reply_and_by_business_status(shop: Any, virtual: Any) -> None:
    async def scenario() -> None:
        async def behave(number: int, call: elanus.Call) -> str:
            if call.log_id == "status" and not call.retried:
                raise elanus.BizStatusError(502, "busy")
            return "success" if call.retried else "retry"

        def check(attempt: elanus.Call, reply: Any, error: Exception | None) -> bool:
            return reply == "retry" or (attempt.biz_status is not None and attempt.biz_status.code == 502)

        server = shop(behave)
        async with server.client(retrier=BudgetRetrier(FailurePolicy(on=RetryOn(check=check)))) as client:
            assert await client.find("tea") == "success"
            assert await client.with_options(log_id="status").find("tea") == "success"
            assert server.retries == 2

    virtual(scenario())


def test_a_call_option_overrides_the_client(shop: Any, virtual: Any) -> None:
    # TestRetryWithCallOptHasOldResultRetry: the client hedges, the call retries. It goes by its own predicate only.
    async def scenario() -> None:
        server = fails_first(shop, elanus.ApplicationError(1000, "retry"))
        retrier = BudgetRetrier(BackupPolicy(delay=0.010), on=ALL_ERRORS)
        async with server.client(retrier=retrier) as client:
            for policy, outcome in [
                (FailurePolicy(on=RetryOn(check=is_1000)), "ok"),
                (FailurePolicy(), "error 1000"),
                (None, "error 1000"),
            ]:
                (told,) = await shop.calls(client, 1, retrier=retrier.with_policy(policy))
                assert outcome in told

    virtual(scenario())


def test_an_update_keeps_the_clients_predicate(shop: Any, virtual: Any) -> None:
    # TestRetryNotifyHasOldResultRetry.
    async def scenario() -> None:
        server = fails_first(shop, elanus.ApplicationError(1000, "retry"))
        retrier = BudgetRetrier(None, on=RetryOn(check=is_1000))
        async with server.client(retrier=retrier) as client:
            assert "error 1000" in (await shop.calls(client, 1))[0]
            for key in ("*", "find", "find"):
                assert retrier.update(key, FailurePolicy(), remote=True)
                assert await shop.calls(client, 1) == ["ok"]

    virtual(scenario())


def test_timeouts_can_be_left_alone(shop: Any, virtual: Any) -> None:
    # The last case of retrycall_test.go: by default a timeout is retried; NotRetryForTimeout ends that.
    async def scenario() -> None:
        server = slow_unless_retried(shop)
        for timeouts, outcome in [(True, "ok"), (False, "no reply within 0.040 s")]:
            retrier = BudgetRetrier(FailurePolicy(on=RetryOn(timeouts=timeouts, check=is_1000)))
            async with server.client(retrier=retrier, attempt_timeout=shop.attempt_timeout) as client:
                (told,) = await shop.calls(client, 1)
                assert outcome in told

    virtual(scenario())
