"""Rate, concurrency and connection limits for elanus servers. By name: ``limiter=("token", {"qps": 1000})``; as an
object: ``TokenLimiter(qps=1000)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_limiter_token.limiter import Level as Level
    from elanus_limiter_token.limiter import TokenLimiter as TokenLimiter
    from elanus_limiter_token.settings import Rule as Rule
    from elanus_limiter_token.settings import TokenSettings as TokenSettings
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from elanus_limiter_token import limiter, settings

            return getattr(limiter if name in limiter.__all__ else settings, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Level", "Rule", "TokenLimiter", "TokenSettings"]
