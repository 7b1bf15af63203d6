"""Retries and hedged requests with a budget for elanus."""

from __future__ import annotations
