"""Circuit breakers over a sliding window for elanus."""

from __future__ import annotations
