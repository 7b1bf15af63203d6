"""Locality and tag preference for the load balancers of elanus."""

from __future__ import annotations
