"""How long OpenMP threads spin for more work before they sleep. To be set before torch is loaded."""

import os

SPINS = 5000
"""Turns of the waiting loop, some ten microseconds: longer than the pause between two layers of a network.

GNU OpenMP's own default is some milliseconds. Beside decoding, which wants the same cores, threads that spin so long
cost two networks over photographs, decoded once, a third of their rate; a network alone runs as fast with either.
"""


def wait_briefly() -> None:
    """Let idle threads of GNU OpenMP give up their core soon, where the user has not said how they wait.

    Processes that are started later wait in the same way.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
