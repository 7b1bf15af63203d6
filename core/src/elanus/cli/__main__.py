"""``python -m elanus.cli``: the same as ``elanus``."""

from elanus.cli import main

main()
