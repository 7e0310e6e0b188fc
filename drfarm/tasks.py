"""Which results a study wants, and grouping those that are missing into tasks. Reads the store's results only."""

from collections.abc import Iterator, Sequence

from drfarm.blocks import plan_blocks
from drfarm.cka_tasks import plan_cka
from drfarm.components import with_components
from drfarm.costs import BARE_BYTES, ProbeCost, statistics_bytes, statistics_s
from drfarm.errors import InvalidStudy
from drfarm.gathering import measurable, part_sizes
from drfarm.refinement import AskedCurve, Refinement
from drfarm.study import Study
from drfarm.study_measures import AccuracyMeasure
from drfarm.targets import Target
from probe import (
    Method,
    ProbeSetting,
    ProbeTask,
    SgdProtocol,
    Sizes,
    StatisticsTask,
    SubsetGroup,
    Task,
    parse_method,
    sizes_of,
)
from store import InvalidRequest, Store


def plan_tasks(
    study: Study, url: str, targets: tuple[Target, ...], store: Store | None, notes: list[str]
) -> tuple[tuple[Task, ...], dict[str, int]]:
    """Group what is not in the store yet into tasks, dearest first; and count what is wanted and done.

    Adds to ``notes`` what a person should know.
    """
    probes_done = store.results.jobs("probes") if store is not None else set()
    cka_done = store.results.jobs("cka") if store is not None else set()
    refinement = Refinement.read(study, targets, store, probes_done)
    tasks: list[Task] = []
    counts = dict.fromkeys(("n_probes", "n_probes_done", "n_cka", "n_cka_done"), 0)
    for target in targets:
        grid = _grid(study, target, notes)
        measures = study.accuracies if target.settings else ()
        asked = [
            (measure, setting, _asked(study, target, measure, setting, grid, notes))
            for measure, setting in zip(measures, target.settings, strict=True)
        ]
        refines = refinement.begins(curve for _, _, curves in asked for curve in curves)
        for measure, setting, curves in asked:
            groups: list[SubsetGroup] = []
            for base in curves:
                curve = refinement.refined(target, base) if refines and not target.gathered else base
                shared: dict[Sizes, Sizes] = {}
                for seed in curve.seeds:
                    left = curve.missing(seed, probes_done)
                    counts["n_probes"] += len(curve.sizes)
                    counts["n_probes_done"] += len(curve.sizes) - len(left)
                    if left:  # seeds that lack the same sizes share one tuple: it is pickled once
                        sizes = sizes_of(left)
                        sizes = shared.setdefault(sizes, sizes)
                        groups.append(SubsetGroup(method=curve.method.label, seed=seed, sizes=sizes))
            tasks += _probe_tasks(url, target, measure, setting, groups, grid)
        for cka in plan_cka(study, url, target, grid, cka_done, notes):
            tasks += cka.tasks
            counts["n_cka"] += cka.n_wanted
            counts["n_cka_done"] += cka.n_wanted - cka.n_left
    # Two data sets with the same images, or two models with the same weights, ask for the same batch: it runs once.
    once = {t.batch_id: t for t in tasks}.values()
    first = _statistics_tasks(url, targets, list(once), store)
    return (*first, *sorted(once, key=lambda t: -t.predicted_s)), counts


def _asked(
    study: Study,
    target: Target,
    measure: AccuracyMeasure,
    setting: ProbeSetting,
    grid: tuple[int, ...],
    notes: list[str],
) -> list[AskedCurve]:
    """Return the curves of one measure, as the study file asks for them."""
    curves = []
    for method in map(parse_method, measure.methods or study.subsets.methods):
        wanted = measurable(target, measure, method, grid, notes)
        if wanted is not None:
            sizes = wanted if target.gathered else _sizes(study, target, measure, method, grid, notes)
            seeds = _seeds(study, method, setting)
            curves.append(AskedCurve(setting=setting, method=method, seeds=seeds, sizes=sizes))
    return curves


def _probe_tasks(
    url: str,
    target: Target,
    measure: AccuracyMeasure,
    setting: ProbeSetting,
    groups: Sequence[SubsetGroup],
    grid: Sequence[int],
) -> Iterator[ProbeTask]:
    sgd = setting.solver == "sgd"
    # An epoch of SGD sees one view; the other solvers see the rows of all.
    n_views = 1 if sgd else target.n_views
    cost = ProbeCost(
        n_train=target.n_fitted * n_views,
        n_test=target.n_test,
        width=target.width,
        n_classes=target.n_classes,
        protocol=setting.protocol,
    )
    for block, seconds in plan_blocks(groups, cost):
        methods = [parse_method(g.method) for g in block]
        projects = any(m.projects for m in methods)
        item_bytes = 4 if projects or setting.solver == "logistic" else target.item_bytes
        resident = target.width if not target.gathered else _most_neurons(block)
        features = max(target.n_train, 1) * n_views * resident * item_bytes if setting.solver != "ridge" else 0
        learns = not target.gathered and (not sgd or any(m.needs_statistics for m in methods))
        yield ProbeTask(
            store_url=url,
            names=target.names,
            setting=setting,
            groups=block,
            detailed=frozenset(grid) if measure.k == "every" and measure.average == "sample" else None,
            statistics=((setting.train_id, setting.training_rows),) if learns else (),
            predicted_s=seconds,
            stack_s=cost.stack_s,
            predicted_bytes=BARE_BYTES
            + int(1.25 * features)
            + max(cost.stack_bytes(g.sizes) for g in block)
            + (statistics_bytes(target.width) if learns or projects else 0)
            + (statistics_bytes(_most_neurons(block)) if target.gathered and not sgd else 0),
        )


def _most_neurons(block: Sequence[SubsetGroup]) -> int:
    """Return the neurons that a stack of a block reads at most: one group is in memory at a time."""
    return max(g.sizes[-1] for g in block)


def _statistics_tasks(
    url: str, targets: tuple[Target, ...], tasks: Sequence[Task], store: Store | None
) -> list[StatisticsTask]:
    """Return the statistics that tasks read and the store does not have."""
    wanted = {need for t in tasks if not isinstance(t, StatisticsTask) for need in t.statistics}
    if store is not None:
        wanted = {need for need in wanted if not store.statistics.exists(*need)}
    found: dict[tuple[str, str], StatisticsTask] = {}
    for t in targets:
        for representation, rows, n_rows in (
            (t.test_id, "all", t.n_test),
            (t.train_id, "all", t.n_train * t.n_views),
            (t.train_id, t.training_rows, t.n_fitted * t.n_views),
        ):
            if representation is not None and (representation, rows) in wanted:
                found[representation, rows] = StatisticsTask(
                    store_url=url,
                    names=t.names,
                    representation_id=representation,
                    validation=None if rows == "all" else t.validation,
                    predicted_s=statistics_s(n_rows, t.width),
                    predicted_bytes=BARE_BYTES + statistics_bytes(t.width),
                )
    return sorted(found.values(), key=lambda t: -t.predicted_s)


def _seeds(study: Study, method: Method, setting: ProbeSetting) -> tuple[int, ...]:
    """Return the seeds that can differ: one is enough where neither the choice nor the fit depends on it."""
    fit_varies = isinstance(setting.protocol, SgdProtocol) and setting.protocol.initial == "seed"
    return study.subsets.seeds if method.seeded or fit_varies else study.subsets.seeds[:1]


def _sizes(
    study: Study, target: Target, measure: AccuracyMeasure, method: Method, grid: tuple[int, ...], notes: list[str]
) -> Sizes:
    sizes = range(1, target.width + 1) if measure.k == "every" else grid
    return with_components(study, target, method, sizes, notes)


def _grid(study: Study, target: Target, notes: list[str]) -> tuple[int, ...]:
    n = target.names
    if target.gathered:
        notes.append(
            f"{n.model}/{n.layer} has {target.width:,} neurons and is stored by its subsets: the whole layer is not "
            "measured, so its DR is not known. Set `keep: whole` for it to store all."
        )
        return part_sizes(study, target.width)
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
