"""Loaded first by worker processes, and by the one they are forked from: they end with the process that started them.

Nothing else may import this: loading it ties the process, and all that it starts.
"""

import os

from drfarm.farm._settings import LIFELINE
from store.orphans import tie

if _line := os.environ.get(LIFELINE):
    tie(_line)
