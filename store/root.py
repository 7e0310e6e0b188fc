"""One root holds everything: features, their ledger, their statistics and results. A store is the only state."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from store import records, views
from store._reread import Checked, reread
from store.errors import Corrupt, NotFound, UnsupportedFormat
from store.features import FeatureStore
from store.ids import canonical_json, check_name
from store.neuron_sets import NeuronSets
from store.objects import ObstoreObjects, open_objects
from store.rates import RateStore
from store.results import ResultStore
from store.settings import SettingStore
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

    @property
    def neuron_sets(self) -> NeuronSets:
        """Which neurons of huge layers are kept."""
        return NeuronSets(self.objects)

    @property
    def rates(self) -> RateStore:
        """Measured rates, for predictions."""
        return RateStore(self.objects)

    @property
    def settings(self) -> SettingStore:
        """Settings that stay as they were found."""
        return SettingStore(self.objects)

    def connect(self) -> Any:
        """Return an in-memory DuckDB connection with the store's views."""
        return views.connect(self.features, self.results)

    def put_study(self, name: str, record: Mapping[str, Any], *, representations: Iterable[str] | None = None) -> None:
        """Keep a study's resolved settings beside its results; what was kept of a study of this name is replaced.

        Parameters
        ----------
        name
            The study's name.
        record
            Its settings, as JSON can carry them.
        representations
            Ids of every representation that it names, finished or not: those that `drfarm store gc` keeps.
        """
        value = dict(record)
        if representations is not None:
            value["representations"] = sorted(set(representations))
        self.objects.put(_study_object(name), records.to_bytes(value))

    def drop_study(self, name: str) -> None:
        """Forget a study's settings, not its results; one that is not there is no error."""
        self.objects.delete([_study_object(name)])

    def studies(self) -> list[dict[str, Any]]:
        """Return the settings of every study that ran here.

        ``representations`` are the ids that it names; earlier versions did not write them.
        """
        return [records.from_bytes(self.objects.get(o.key), where=o.key) for o in self.objects.list("studies")]

    def named_representations(self) -> dict[str, frozenset[str] | None]:
        """Return the ids that each study names, by study; None of a study that an earlier version wrote down."""
        named: dict[str, frozenset[str] | None] = {}
        for o in self.objects.list("studies"):
            ids = records.from_bytes(self.objects.get(o.key), where=o.key).get("representations")
            named[o.key.removeprefix("studies/").removesuffix(".json")] = None if ids is None else frozenset(ids)
        return named

    def check_studies(self) -> Iterator[Checked]:
        """Re-read what is kept of every study.

        Yields
        ------
        Checked
            Name of the object; what is wrong with it, None where it is what was written; what removes it: the next
            run of the study writes it anew.
        """
        yield from reread(self.objects, "studies", lambda name: records.from_bytes(self.objects.get(name), where=name))


def _study_object(name: str) -> str:
    return f"studies/{check_name('study', name)}.json"


def open_store(url: str | Path, *, create: bool = False, patient: bool = False) -> Store:
    """Open the store at ``url``.

    Parameters
    ----------
    url
        A local path or an address such as ``s3://bucket/prefix``.
    create
        Make an empty store where there is none.
    patient
        Whether the server of a bucket that does not answer is waited for, a minute instead of a few seconds: for who
        knows that it is there. One that has answered this process before is waited for in any case.

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
    objects = open_objects(url, create=create, patient=patient)
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
