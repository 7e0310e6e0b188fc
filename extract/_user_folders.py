"""Folders of the user: where data sets are looked for, and where digests of them are kept."""

import os
from pathlib import Path


def data_folder(root: str | None) -> Path:
    """Return the folder of the data sets: ``root``, else ``$DRFARM_DATA``, else ``~/.cache/drfarm/data``."""
    return Path(root or os.environ.get("DRFARM_DATA") or "~/.cache/drfarm/data").expanduser()


def cache_folder(kind: str) -> Path:
    """Return where things of one kind are kept: below ``$DRFARM_CACHE``, else below ``~/.cache/drfarm``."""
    return Path(os.environ.get("DRFARM_CACHE") or "~/.cache/drfarm").expanduser() / kind
