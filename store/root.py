"""One root holds everything: features, their ledger, their statistics and results. A store is the only state."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import records, views
from store.errors import Corrupt, NotFound, UnsupportedFormat
from store.features import FeatureStore
from store.ids import canonical_json, check_name
from store.objects import ObstoreObjects, open_objects
from store.results import ResultStore
from store.statistics import StatisticsStore

STORE_FORMAT = 1
"""Version of the whole layout, written into the root."""

_MARK = "drfarm.json"


@dataclass(frozen=True, slots=True)
class Store:
    """An open store. Made by `open_store`; pickles by its address."""

    objects: ObstoreObjects
    """The named bytes below the root."""

    @property
    def url(self) -> str:
        """Where it is."""
        return self.objects.url

    @property
    def features(self) -> FeatureStore:
        """Representations."""
        return FeatureStore(self.objects)

    @property
    def results(self) -> ResultStore:
        """Results of probes and CKA."""
        return ResultStore(self.objects)

    @property
    def statistics(self) -> StatisticsStore:
        """What was computed once from representations: means, second moments, class sums."""
        return StatisticsStore(self.objects)

    def connect(self) -> Any:
        """Return an in-memory DuckDB connection with the store's views."""
        return views.connect(self.features, self.results)

    def put_study(self, name: str, record: dict[str, Any]) -> None:
        """Keep a study's resolved settings beside its results."""
        self.objects.put(f"studies/{check_name('study', name)}.json", records.to_bytes(record))

    def studies(self) -> list[dict[str, Any]]:
        """Return the settings of every study that ran here."""
        return [records.from_bytes(self.objects.get(o.key), where=o.key) for o in self.objects.list("studies")]


def open_store(url: str | Path, *, create: bool = False) -> Store:
    """Open the store at ``url``.

    Parameters
    ----------
    url
        A local path or an address such as ``s3://bucket/prefix``.
    create
        Make an empty store where there is none.

    Raises
    ------
    NotFound
        If there is no store and ``create`` is not asked.
    UnsupportedFormat
        If it was written by a newer drfarm, or the place holds something else.
    Corrupt
        If the file that marks a store is damaged.
    StorageFailure
        If the place can't be reached or written.
    """
    objects = open_objects(url, create=create)
    try:
        data = objects.get(_MARK)
    except NotFound:
        if not create:
            raise NotFound(
                f"there is no drfarm store at {objects.url} (no {_MARK} in it). Check the path, or run a study first."
            ) from None
        other = objects.first("")
        if other not in (None, _MARK):  # the mark itself: another process makes this store at the same moment
            raise UnsupportedFormat(
                f"{objects.url} is not a drfarm store, and not empty: it holds {other!r}. Choose an empty folder."
            ) from None
        objects.put_new(_MARK, canonical_json({"store_format": STORE_FORMAT}))
        data = objects.get(_MARK)
    try:
        version = records.parse(data, where=_MARK).get("store_format")
    except Corrupt as e:
        raise Corrupt(
            f"{objects.url}/{_MARK} is damaged. If this is a store of format {STORE_FORMAT}, write "
            f'{{"store_format":{STORE_FORMAT}}} into it; nothing else is lost.'
        ) from e
    if version != STORE_FORMAT:
        raise UnsupportedFormat(
            f"{objects.url} has store format {version}; this drfarm reads and writes format {STORE_FORMAT}. "
            "Upgrade drfarm, or choose another store."
        )
    return Store(objects)
