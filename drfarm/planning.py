"""What a study would run, and what of it is done. Reads the store, the weights and the images; starts nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from drfarm._descriptions import describe
from drfarm.errors import InvalidStudy
from drfarm.study import Study
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from extract import ExtractionJob, PlannedLayer, SplitDescription, combine_jobs, describe_split
from probe import Names, ProbeSetting, Task, Validation
from store import NotFound, Store, open_store


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
    tasks: tuple[Task, ...]
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
    def grows(self) -> bool:
        """Whether refinement may still add probes: where, and hence how many, depends on those that are left."""
        return self.study.subsets.refine is not None and self.n_probes_done < self.n_probes

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
        validation = study.validation(dataset, None if val is None else val.key.id)
        yield Target(
            names=Names(study=study.study, model=model, layer=layer, dataset=dataset_name),
            width=test.layer.width,
            n_classes=len(splits[dataset_name, split].classes),
            n_train=0 if train is None else splits[dataset_name, dataset.splits.train].n_samples,
            n_test=splits[dataset_name, split].n_samples,
            train_id=None if train is None else train.key.id,
            test_id=test.key.id,
            validation=validation,
            settings=() if train is None else tuple(_settings(study, train.key.id, test.key.id, validation)),
            item_bytes=2 if test.key.dtype == "float16" else 4,
        )


def _settings(study: Study, train_id: str, test_id: str, validation: Validation | None) -> Iterator[ProbeSetting]:
    """Yield what the probes of each accuracy measure have in common, in the order of `Study.accuracies`."""
    for measure in study.accuracies:
        yield ProbeSetting(
            train_id=train_id,
            test_id=test_id if measure.control is None else train_id,
            protocol=measure.settings(),
            validation=validation,
            average=measure.average,
            control=measure.control,
        )
