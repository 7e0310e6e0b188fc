"""What a study would run, and what of it is done. Reads the store, the weights and the images; starts nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from drfarm._descriptions import describe
from drfarm.blocks import ProbeCost, plan_blocks
from drfarm.errors import InvalidStudy
from drfarm.study import DatasetEntry, Study
from extract import ExtractionJob, PlannedLayer, SplitDescription, combine_jobs, describe_split
from probe import CkaKind, CkaTask, Names, ProbeSetting, ProbeTask, Subset, cka_job_id
from store import InvalidRequest, NotFound, Store, open_store

_BARE = 512 * 2**20
"""Memory of a worker beside its features, in bytes: interpreter and libraries (440 MiB measured), a stack's weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One layer of one model on one data set: what probes are trained and scored on."""

    names: Names
    """Readable names."""
    width: int
    """Neurons."""
    n_classes: int
    """Classes."""
    n_train: int
    """Training rows; 0 where no measure trains."""
    n_test: int
    """Test rows."""
    train_id: str | None
    """Representation that is trained on; None where no measure trains."""
    test_id: str
    """Representation that is scored on."""
    settings: tuple[ProbeSetting, ...]
    """One for each measure that trains probes."""
    item_bytes: int
    """Size of a stored value."""

    @property
    def feature_bytes(self) -> int:
        """Memory of the features that a worker holds, in bytes."""
        return max(self.n_train, 1) * self.width * self.item_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """Everything a study asks for, and how much of it is in the store."""

    study: Study
    """The study."""
    store_url: str
    """Where its results live."""
    jobs: tuple[ExtractionJob, ...]
    """Extractions, finished or not."""
    jobs_done: frozenset[str]
    """Names of the extractions that are complete."""
    targets: tuple[Target, ...]
    """What is probed."""
    tasks: tuple[ProbeTask | CkaTask, ...]
    """Tasks still to run, dearest first."""
    n_probes: int
    """Probes that the study asks for."""
    n_probes_done: int
    """Probes of these that are in the store."""
    n_cka: int
    """CKA values that the study asks for."""
    n_cka_done: int
    """CKA values of these that are in the store."""
    notes: tuple[str, ...]
    """What a person should know before it runs."""

    @property
    def jobs_left(self) -> tuple[ExtractionJob, ...]:
        """Extractions still to run."""
        return tuple(j for j in self.jobs if j.name not in self.jobs_done)

    @property
    def predicted_s(self) -> float:
        """Predicted time of all tasks on one core, in seconds."""
        return sum(t.predicted_s for t in self.tasks)


def plan_study(study: Study, *, store_url: str | None = None, writing: bool = False) -> StudyPlan:
    """Plan a study against its store.

    Parameters
    ----------
    study
        The study.
    store_url
        Overrides the study's store.
    writing
        Make the store where there is none, and keep what loading networks told for the next plan.

    Raises
    ------
    InvalidRequest
        If anything that is asked for can't run: an unknown model or layer, a missing file, a subset larger than its
        layer. Nothing has been started then.
    """
    url = study.store if store_url is None else store_url
    store: Store | None
    try:
        store = open_store(url, create=writing)
    except NotFound:
        store = None
    if store is not None:
        url = store.url
    splits = {(d.name, s): describe_split(d, s) for d in study.dataset_specs() for s in d.split_names}
    _check_classes(study, splits)
    models = [describe(m, study.layer_specs(), store, remember=writing) for m in study.model_specs()]
    jobs = combine_jobs(models, list(splits.values()), dtype=study.dtype)
    complete = set() if store is None else {i.key.id for i in store.features.catalogue() if i.complete}
    notes: list[str] = []
    targets = tuple(_targets(study, jobs, splits))
    tasks, counts = plan_tasks(study, url, targets, store, notes)
    return StudyPlan(
        study=study,
        store_url=url,
        jobs=jobs,
        jobs_done=frozenset(j.name for j in jobs if complete.issuperset(j.ids)),
        targets=targets,
        tasks=tasks,
        notes=tuple(dict.fromkeys(notes)),
        **counts,
    )


def _check_classes(study: Study, splits: dict[tuple[str, str], SplitDescription]) -> None:
    for dataset in study.datasets:
        found = {name: s.classes for (d, name), s in splits.items() if d == dataset.name}
        first, *others = found
        for other in others:
            if found[other] != found[first]:
                differ = sorted(set(found[first]) ^ set(found[other]))
                raise InvalidStudy(
                    f"dataset {dataset.name!r}: splits {first!r} and {other!r} have different classes"
                    f"{': ' + ', '.join(differ[:8]) if differ else ' (the same names in another order)'}. "
                    "A probe is trained and scored on the same classes; name those to keep with `classes: [...]`."
                )


def _targets(
    study: Study, jobs: tuple[ExtractionJob, ...], splits: dict[tuple[str, str], SplitDescription]
) -> Iterator[Target]:
    planned = {
        (j.model.spec.name, j.split.spec.name, j.split.split, p.key.layer, p.key.pool): p
        for j in jobs
        for p in j.layers
    }
    for (model, dataset_name, split, layer, pool), test in planned.items():
        dataset = next(d for d in study.datasets if d.name == dataset_name)
        if split != dataset.splits.test:
            continue

        def of(
            name: str | None, where: tuple[str, str, str, str] = (model, dataset_name, layer, pool)
        ) -> PlannedLayer | None:
            return None if name is None else planned.get((where[0], where[1], name, where[2], where[3]))

        train, val = of(dataset.splits.train), of(dataset.splits.val)
        yield Target(
            names=Names(study=study.study, model=model, layer=layer, dataset=dataset_name),
            width=test.layer.width,
            n_classes=len(splits[dataset_name, split].classes),
            n_train=0 if train is None else splits[dataset_name, dataset.splits.train].n_samples,
            n_test=splits[dataset_name, split].n_samples,
            train_id=None if train is None else train.key.id,
            test_id=test.key.id,
            settings=tuple(_settings(study, dataset, train, test, val)),
            item_bytes=2 if test.key.dtype == "float16" else 4,
        )


def _settings(
    study: Study,
    dataset: DatasetEntry,
    train: PlannedLayer | None,
    test: PlannedLayer,
    val: PlannedLayer | None,
) -> Iterator[ProbeSetting]:
    for measure in study.accuracies:
        if train is not None:
            yield ProbeSetting(
                train_id=train.key.id,
                test_id=test.key.id,
                protocol=measure.settings(),
                validation=study.validation(dataset, None if val is None else val.key.id),
            )


def plan_tasks(
    study: Study, url: str, targets: tuple[Target, ...], store: Store | None, notes: list[str]
) -> tuple[tuple[ProbeTask | CkaTask, ...], dict[str, int]]:
    """Group what is not in the store yet into tasks, dearest first; and count what is wanted and done.

    Adds to ``notes`` what a person should know.
    """
    probes_done = store.results.jobs("probes") if store is not None else set()
    cka_done = store.results.jobs("cka") if store is not None else set()
    tasks: list[ProbeTask | CkaTask] = []
    counts = dict.fromkeys(("n_probes", "n_probes_done", "n_cka", "n_cka_done"), 0)
    for target in targets:
        sizes = _sizes(study, target, notes)
        wanted = [
            Subset(method=m, seed=s, n_neurons=k)
            for m in study.subsets.methods
            for s in study.subsets.seeds
            for k in sizes
        ]
        for setting in target.settings:
            left = [s for s in wanted if setting.job_id(s) not in probes_done]
            counts["n_probes"] += len(wanted)
            counts["n_probes_done"] += len(wanted) - len(left)
            cost = ProbeCost(
                n_train=target.n_train, width=target.width, n_classes=target.n_classes, protocol=setting.protocol
            )
            for subsets, seconds in plan_blocks(left, cost):
                tasks.append(
                    ProbeTask(
                        store_url=url,
                        names=target.names,
                        setting=setting,
                        subsets=subsets,
                        predicted_s=seconds,
                        predicted_bytes=_BARE + int(1.25 * target.feature_bytes),
                    )
                )
        for method in study.subsets.methods:
            task, n_wanted, n_left = _cka_task(study, url, target, method, sizes, cka_done)
            counts["n_cka"] += n_wanted
            counts["n_cka_done"] += n_wanted - n_left
            if task is not None:
                tasks.append(task)
    # Two data sets with the same images, or two models with the same weights, ask for the same batch: it runs once.
    once = {t.batch_id: t for t in tasks}.values()
    return tuple(sorted(once, key=lambda t: -t.predicted_s)), counts


def _sizes(study: Study, target: Target, notes: list[str]) -> tuple[int, ...]:
    n = target.names
    try:
        sizes = study.subsets.sizes(target.width)
    except InvalidRequest as e:
        raise InvalidStudy(f"model {n.model!r}, layer {n.layer!r}: {e}") from e
    given = study.subsets
    if given.fractions is not None or given.grid is not None:
        fractions = given.fractions or (0.0005,)
        if int(min(fractions) * target.width) < 1:
            notes.append(
                f"{n.model}/{n.layer} has {target.width} neurons: fractions below {1 / target.width:.4f} are no neuron "
                "and are left out, as in the paper's curves."
            )
    whole_is_named = 1.0 in (given.fractions or (1.0,)) if given.n_neurons is None else target.width in given.n_neurons
    if not whole_is_named:
        notes.append("The whole layer is measured too: DR compares with it.")
    return sizes


def _cka_task(
    study: Study, url: str, target: Target, method: str, sizes: tuple[int, ...], done: set[str]
) -> tuple[CkaTask | None, int, int]:
    """Return the CKA task of one representation (None: nothing is left), and how many values are wanted and left."""
    seeds = study.subsets.seeds
    wanted = left = 0
    part_whole: list[tuple[int, tuple[int, ...]]] = []
    pairs: list[tuple[int, int, tuple[int, ...]]] = []

    shared: dict[tuple[int, ...], tuple[int, ...]] = {}

    def missing(kind: CkaKind, seed: int, seed_b: int | None, ks: tuple[int, ...]) -> tuple[int, ...]:
        nonlocal wanted, left
        found = tuple(k for k in ks if cka_job_id(target.test_id, kind, method, seed, seed_b, k) not in done)
        wanted += len(ks)
        left += len(found)
        return shared.setdefault(found, found)  # seeds that lack the same sizes share one tuple: it is pickled once

    for kind in dict.fromkeys(m.measure for m in study.ckas):
        every = any(m.k == "every" for m in study.ckas if m.measure == kind)
        ks = tuple(range(1, target.width + 1)) if every else sizes
        if kind == "cka":
            part_whole += [(s, k) for s in seeds if (k := missing("part_whole", s, None, ks))]
        elif method != "first":  # two parts of one fixed order are the same part
            pairs += [(a, b, k) for a, b in combinations(seeds, 2) if (k := missing("pair", a, b, ks))]
    if not left:
        return None, wanted, 0
    d = target.width
    task = CkaTask(
        store_url=url,
        names=target.names,
        test_id=target.test_id,
        method=method,
        part_whole=tuple(part_whole),
        pairs=tuple(pairs),
        predicted_s=(2.0 * target.n_test * d * d) / 25e9
        + (len(part_whole) + 3 * len(pairs)) * d * d * 2e-8
        + left * 4e-6,
        predicted_bytes=_BARE + 6 * 8 * d * d,
    )
    return task, wanted, left
