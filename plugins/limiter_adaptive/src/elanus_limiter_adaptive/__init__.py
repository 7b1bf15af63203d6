"""Admission control for elanus servers that finds its own limit. By name: ``limiter="adaptive"``; as an object:
``AdaptiveLimiter(min_limit=8)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_limiter_adaptive.limiter import AdaptiveLimiter as AdaptiveLimiter
    from elanus_limiter_adaptive.limiter import MethodState as MethodState
    from elanus_limiter_adaptive.limiter import State as State
    from elanus_limiter_adaptive.settings import AdaptiveSettings as AdaptiveSettings
else:

    def __getattr__(name: str) -> object:
        if name in __all__:
            from elanus_limiter_adaptive import limiter, settings

            return getattr(limiter if name in limiter.__all__ else settings, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["AdaptiveLimiter", "AdaptiveSettings", "MethodState", "State"]
