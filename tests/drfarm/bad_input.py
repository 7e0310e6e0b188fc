"""What holds after any wrong request: nothing half-written, nothing started, a message without a stack trace."""

import re
from collections.abc import Callable
from pathlib import Path

from store import open_store, verify


def check_nothing_is_half_written(folder: Path) -> None:
    """No temporary file, and where there is a store it is sound: what is complete can be read."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert [p for p in files if re.search(r"\.partial|\.tmp|#\d+$", p.name)] == []
    if (folder / "store" / "drfarm.json").exists():
        assert [c.problem for c in verify(open_store(folder / "store")) if c.problem] == []


def check_nothing_was_started(folder: Path) -> None:
    """Nothing was made; a store is at most an empty one."""
    check_nothing_is_half_written(folder)
    place = folder / "store"
    assert list(place.rglob("*.parquet")) == []
    if (place / "drfarm.json").exists():
        store = open_store(place)
        assert store.features.catalogue() == []
        assert (store.studies(), store.results.failures()) == ([], [])


def check_words(text: str, words: tuple[str, ...]) -> None:
    assert "Traceback" not in text
    flat = " ".join(text.split())
    assert [w for w in words if w not in flat] == []


def text_file(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")
