"""A load balancer for elanus that learns from latency and load."""

from __future__ import annotations
