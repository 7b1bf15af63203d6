"""Admission control for elanus servers that finds its own limit."""

from __future__ import annotations
