"""The kit: what tests of elanus, of its plugins and of applications need. Product code never imports it.

A suite per contract (:mod:`elanus.testing.balancer`, ...) which every plugin of that kind runs; an in-memory transport;
a fake clock and a loop in virtual time (:mod:`elanus.testing.clock`); a proxy that harms connections
(:mod:`elanus.testing.fault_proxy`). Import from the file of the thing. The suites need pytest: ``elanus[testing]``.
"""

from __future__ import annotations

import sys

# A failed assert in a suite shall show its values, as it does in a test file. pytest rewrites modules of which it was
# told before their import, and this package is imported before any of them. Without pytest there is nothing to tell.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite(
        *(f"{__name__}.{kind}" for kind in ("balancer", "codec", "registry", "resolver", "tracer", "transport"))
    )
