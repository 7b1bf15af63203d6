"""One program per peer, each with a ``server`` and a ``client`` subcommand that speak the same JSON lines.

A server prints ``{"event": "ready", "address": ...}``, answers the line ``stats`` on its stdin with ``{"event":
"stats", "cpu_seconds": ..., "max_rss_bytes": ..., "handled": ...}``, and ends when its stdin does. A client keeps
``--concurrency`` calls in flight, prints ``{"event": "measuring"}`` as its window opens, and at its end ``{"event":
"result", ...}``. The Go Kitex peer of ``tests/interop/kitex`` speaks the same lines, so one harness drives all of them.
"""
