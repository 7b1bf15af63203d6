"""Consistent hashing with bounded loads for elanus."""

from __future__ import annotations
