"""What a study would run, and what of it is done. Reads the store, the weights and the images; starts nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from drfarm._descriptions import describe
from drfarm.errors import InvalidStudy
from drfarm.gathering import keeper
from drfarm.study import Study
from drfarm.study_inputs import DatasetEntry
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from extract import (
    ExtractionJob,
    PlannedLayer,
    Prediction,
    SplitDescription,
    SplitPass,
    TransformSpec,
    combine_jobs,
    describe_split,
    group_jobs,
    is_random,
    predict,
    transform_version,
)
from probe import Names, ProbeSetting, Task, Validation
from store import NotFound, RepresentationKey, Store, open_store


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
    prediction: Prediction | None = None
    """How long the extractions that are left will take, where rates were measured in this store."""

    def _repr_html_(self) -> str:
        from drfarm.notebook import plan_html

        return plan_html(self)

    @property
    def jobs_left(self) -> tuple[ExtractionJob, ...]:
        """Extractions still to run."""
        return tuple(j for j in self.jobs if j.name not in self.jobs_done)

    @property
    def groups_left(self) -> tuple[tuple[ExtractionJob, ...], ...]:
        """Extractions still to run, those together that decode the same images."""
        return group_jobs(self.jobs_left)

    @property
    def representation_ids(self) -> tuple[str, ...]:
        """Ids of all representations that the study names."""
        return tuple(dict.fromkeys(i for j in self.jobs for i in j.ids))

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
    jobs = combine_jobs(
        models,
        [SplitPass(split=splits[place], transform=t) for place, t in _passes(study)],
        dtype=study.dtype,
        precision=study.extract_options().arithmetic,
        kept=keeper(study, store, remember=writing),
        settle=partial(_settled, store),
    )
    complete = set() if store is None else {i.key.id for i in store.features.catalogue() if i.complete}
    notes = [note for m in models for note in m.notes]
    targets = tuple(_targets(study, jobs, splits))
    tasks, counts = plan_tasks(study, url, targets, store, notes)
    done = frozenset(j.name for j in jobs if complete.issuperset(j.ids))
    left = [j for j in jobs if j.name not in done]
    return StudyPlan(
        study=study,
        store_url=url,
        jobs=jobs,
        jobs_done=done,
        targets=targets,
        tasks=tasks,
        notes=tuple(dict.fromkeys(notes)),
        prediction=predict(left, store) if store is not None and left else None,
        **counts,
    )


def _passes(study: Study) -> tuple[tuple[tuple[str, str], TransformSpec], ...]:
    """Return each (data set, split) with each transform under which it is run, once."""
    t, found = study.transform, dict[tuple[tuple[str, str], TransformSpec], None]()
    for spec, dataset in zip(study.dataset_specs(), study.datasets, strict=True):
        for role, split in spec.splits.items():
            found[(spec.name, split), {"train": t.of_train, "test": t.of_test, "val": t.of_val}[role]] = None
        if "train" in spec.splits and _shown_anew(study, dataset):
            found[(spec.name, spec.splits["train"]), t.of_test] = None
    return tuple(found)


def _shown_anew(study: Study, dataset: DatasetEntry) -> bool:
    """Say whether rows that are held out of the training split are run under the test transform too."""
    held_out = dataset.splits.val is None and dataset.splits.val_fraction is not None
    return held_out and study.transform.shows_held_out_rows_anew and bool(study.accuracies)


def _settled(store: Store | None, key: RepresentationKey) -> RepresentationKey:
    """Return the key that is really used: a representation that overflowed float16 is stored in float32."""
    if store is None or key.dtype != "float16" or store.features.fallback(key.id) is None:
        return key
    return replace(key, dtype="float32")


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
    # What is recorded, by where it comes from: model, data set, split, transform (with its seed), layer, pool.
    planned = {
        (j.model.spec.name, j.split.spec.name, j.split.split, _as_run(j), p.key.layer, p.key.pool): p
        for j in jobs
        for p in j.layers
    }
    transform = study.transform
    for (model, dataset_name, split, as_run, layer, pool), test in planned.items():
        dataset = next(d for d in study.datasets if d.name == dataset_name)
        if split != dataset.splits.test or as_run != _run_as(transform.of_test):
            continue

        def of(
            name: str | None,
            under: TransformSpec,
            where: tuple[str, str, str, str] = (model, dataset_name, layer, pool),
        ) -> PlannedLayer | None:
            return None if name is None else planned.get((*where[:2], name, _run_as(under), *where[2:]))

        train = of(dataset.splits.train, transform.of_train)
        val = of(dataset.splits.val, transform.of_val)
        clean = of(dataset.splits.train, transform.of_test) if _shown_anew(study, dataset) else None
        validation = study.validation(
            dataset, None if val is None else val.key.id, None if clean is None else clean.key.id
        )
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
            n_views=1 if train is None else train.key.n_views,
            gathered=test.kept is not None,
        )


def _as_run(job: ExtractionJob) -> tuple[str, int | None, int]:
    return job.transform, job.transform_seed, job.n_views


def _run_as(spec: TransformSpec) -> tuple[str, int | None, int]:
    """Return what tells jobs under a transform from others."""
    return transform_version(spec.name), spec.seed if is_random(spec.name) else None, spec.views


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
