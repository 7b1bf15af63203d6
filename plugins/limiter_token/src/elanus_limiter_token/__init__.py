"""Rate, concurrency and connection limits for elanus servers."""

from __future__ import annotations
