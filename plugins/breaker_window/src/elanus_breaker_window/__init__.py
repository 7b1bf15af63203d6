"""Circuit breakers over a sliding window for elanus. By name: ``service_breaker="window"``; as an object:
``WindowBreaker(error_rate=0.3)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elanus_breaker_window.breaker import WindowBreaker as WindowBreaker
    from elanus_breaker_window.rules import Rules as Rules
    from elanus_breaker_window.rules import WindowSettings as WindowSettings
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from elanus_breaker_window import breaker, rules

        return getattr(breaker if name == "WindowBreaker" else rules, name)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__all__ = ["Rules", "WindowBreaker", "WindowSettings"]
