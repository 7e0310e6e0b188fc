"""Which CKA values a study wants, and grouping those that are missing into tasks. Pure (no I/O)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from drfarm.blocks import MOST_S
from drfarm.components import with_components
from drfarm.costs import BARE_BYTES, cka_bytes, cka_curve_s, cka_shared_s, statistics_s
from drfarm.study import Study
from drfarm.study_measures import CkaMeasure
from drfarm.targets import Target
from probe import (
    CkaKind,
    CkaTask,
    Estimator,
    Method,
    Sizes,
    cka_job_id,
    parse_method,
    sizes_of,
)
from probe.gathered import MOST_NEURONS


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCka:
    """CKA of one representation by one method and estimator."""

    tasks: tuple[CkaTask, ...]
    """What is left to do."""
    n_wanted: int
    """Values that the study asks for."""
    n_left: int
    """Values of these that are not in the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    """Missing values of one seed, or of one pair of seeds."""

    kind: CkaKind
    seed: int
    seed_b: int | None
    sizes: Sizes


def plan_cka(
    study: Study, url: str, target: Target, grid: tuple[int, ...], done: set[str], notes: list[str]
) -> Iterator[PlannedCka]:
    """Yield what is wanted for each estimator and method. Adds to ``notes`` what a person should know."""
    ckas = study.ckas if not target.gathered else _of_gathered(target, study.ckas, notes)
    for estimator in dict.fromkeys(m.estimator for m in ckas):
        measures = [m for m in ckas if m.estimator == estimator]
        labels = dict.fromkeys(label for m in measures for label in m.methods or study.subsets.methods)
        for method in map(parse_method, labels):
            if target.gathered and method.needs_whole:
                continue
            mine = [m for m in measures if method.label in (m.methods or study.subsets.methods)]
            yield _planned(study, url, target, estimator, method, mine, grid, done, notes)


def _of_gathered(target: Target, ckas: Sequence[CkaMeasure], notes: list[str]) -> list[CkaMeasure]:
    """Return the measures that a layer allows of which only subsets are stored: pairs of parts."""
    pairs = [m for m in ckas if m.measure == "cka_pair" and m.k is None and m.estimator == "biased"]
    if len(pairs) < len(ckas):
        notes.append(
            f"{target.names.model}/{target.names.layer} is stored by its subsets: of CKA only biased pairs at the "
            "study's sizes are measured on it."
        )
    return pairs


def _planned(
    study: Study,
    url: str,
    target: Target,
    estimator: Estimator,
    method: Method,
    measures: Sequence[CkaMeasure],
    grid: tuple[int, ...],
    done: set[str],
    notes: list[str],
) -> PlannedCka:
    train_id = target.train_id if method.needs_statistics else None
    trained_on = None if train_id is None else f"{train_id}|{target.training_rows}"
    seeds = study.subsets.seeds if method.seeded else study.subsets.seeds[:1]
    curves: list[_Curve] = []
    shared: dict[Sizes, Sizes] = {}
    wanted = 0

    def want(kind: CkaKind, seed: int, seed_b: int | None, ks: Sizes) -> None:
        nonlocal wanted
        wanted += len(ks)
        missing = sizes_of(
            k
            for k in ks
            if cka_job_id(
                target.test_id, kind, method.label, seed, seed_b, k, estimator=estimator, trained_on=trained_on
            )
            not in done
        )
        if len(missing):  # seeds that lack the same sizes share one tuple: it is pickled once
            curves.append(_Curve(kind=kind, seed=seed, seed_b=seed_b, sizes=shared.setdefault(missing, missing)))

    for measure in dict.fromkeys(m.measure for m in measures):
        every = any(m.k == "every" for m in measures if m.measure == measure)
        ks = with_components(study, target, method, range(1, target.width + 1) if every else grid, notes)
        if target.gathered:
            ks = sizes_of(k for k in ks if k <= MOST_NEURONS)
        if measure == "cka":
            for seed in seeds:
                want("part_whole", seed, None, ks)
        elif method.seeded:  # two parts of one fixed order are the same part
            for a, b in combinations(seeds, 2):
                want("pair", a, b, ks)

    if target.gathered:  # the covariance of two parts is formed, or of a few that are read together
        width = min(2 * max(grid), 2 * MOST_NEURONS)
        held_bytes = 3 * 8 * width**2
        shared_s = statistics_s(target.n_test, width)
    else:
        width = target.width
        held_bytes = cka_bytes(target.n_test, width, method, estimator)
        shared_s = cka_shared_s(target.n_test, width, estimator)

    def task(part: Sequence[_Curve], seconds: float) -> CkaTask:
        return CkaTask(
            store_url=url,
            names=target.names,
            test_id=target.test_id,
            method=method.label,
            estimator=estimator,
            train_id=train_id,
            validation=target.validation if train_id is not None else None,
            part_whole=tuple((c.seed, c.sizes) for c in part if c.kind == "part_whole"),
            pairs=tuple((c.seed, c.seed_b, c.sizes) for c in part if c.seed_b is not None),
            statistics=(
                *(((target.test_id, "all"),) if estimator == "biased" and not target.gathered else ()),
                *(((train_id, target.training_rows),) if train_id is not None else ()),
            ),
            predicted_s=seconds,
            predicted_bytes=BARE_BYTES + held_bytes,
        )

    tasks: list[CkaTask] = []
    part: list[_Curve] = []
    seconds = shared_s
    for curve in curves:
        more = cka_curve_s(width, method, estimator, len(curve.sizes), pair=curve.kind == "pair")
        if part and seconds + more > MOST_S:
            tasks.append(task(part, seconds))
            part, seconds = [], shared_s
        part.append(curve)
        seconds += more
    if part:
        tasks.append(task(part, seconds))
    return PlannedCka(tasks=tuple(tasks), n_wanted=wanted, n_left=sum(len(c.sizes) for c in curves))
