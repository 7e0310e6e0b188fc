"""Refinement on curves made up here: it ends with narrow brackets, waits for whole rounds, repeats itself exactly."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aggregate
from drfarm.study import study_from_dict
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from probe import Names, ProbeSetting, ProbeTask
from store.schema import PROBES

WIDTH, TO, DELTAS = 1000, 0.01, (0.8, 0.9)
SGD, RIDGE = {"measure": "accuracy"}, {"measure": "accuracy", "solver": "ridge", "k": "every"}


def study(*measures, methods=("random",), to=TO, **refine):
    return study_from_dict(
        {
            "study": "refined",
            "store": "s3://bucket/prefix",
            "models": [{"name": "m", "source": "timm:test_resnet", "weights": "random:0"}],
            "datasets": [{"name": "d", "source": "sklearn:digits"}],
            "subsets": {"n_neurons": [1, 100], "seeds": 2, "methods": list(methods), "refine": {"to": to, **refine}},
            "measures": list(measures) or [SGD],
            "deltas": list(DELTAS),
        },
        base=Path(),
    )


def target(wanted) -> Target:
    ids = {"train_id": "a" * 64, "test_id": "b" * 64}
    return Target(
        names=Names(study="refined", model="m", layer="l", dataset="d"),
        width=WIDTH,
        n_classes=10,
        n_train=5000,
        n_test=500,
        **ids,
        validation=None,
        settings=tuple(
            ProbeSetting(
                train_id=ids["train_id"],
                test_id=ids["test_id"] if m.control is None else ids["train_id"],
                protocol=m.settings(),
                validation=None,
                control=m.control,
            )
            for m in wanted.accuracies
        ),
        item_bytes=4,
    )


class World:
    """A store whose accuracies are known beforehand: what is planned is measured by looking it up."""

    def __init__(self, study, accuracy, names=("m", "l", "d")):
        self.study, self.accuracy, self.names = study, accuracy, names
        self.target = target(study)
        self.rows = {}
        self.n_rounds = 0
        self.sizes = []  # of each round

    @property
    def store(self):
        def table(kind, columns):
            return pa.Table.from_pylist(list(self.rows.values()), schema=PROBES).select(columns)

        return SimpleNamespace(
            results=SimpleNamespace(
                jobs=lambda kind: {j for j in self.rows if kind == "probes"},
                table=table,
            ),
            statistics=SimpleNamespace(exists=lambda *_: True),
        )

    def plan(self):
        return plan_tasks(self.study, "s3://bucket/prefix", (self.target,), self.store, [])

    def jobs(self):
        """Return what is planned: (setting, method, seed, size)."""
        tasks, _ = self.plan()
        assert all(isinstance(t, ProbeTask) for t in tasks)
        return [(t.setting, g.method, g.seed, k) for t in tasks for g in t.groups for k in g.sizes]

    def measure(self, jobs):
        for setting, method, seed, k in jobs:
            model, layer, dataset = self.names
            self.rows[setting.job_id(method, seed, k)] = {
                "study": "refined", "model": model, "layer": layer, "dataset": dataset, "solver": setting.solver,
                "protocol": setting.label, "method": method, "seed": seed, "n_neurons": k, "width": WIDTH,
                "fraction": k / WIDTH, "accuracy": self.accuracy(setting, method, seed, k), "n_test": 500,
                "train_id": setting.train_id, "test_id": setting.test_id,
                "job_id": setting.job_id(method, seed, k), "batch_id": "b",
            }  # fmt: skip

    def run(self, most_rounds=60):
        while jobs := self.jobs():
            self.n_rounds += 1
            assert self.n_rounds <= most_rounds
            self.sizes.append(sorted({k for *_, k in jobs}))
            self.measure(jobs)
        return self

    def brackets(self, rule="strict"):
        """Return (method, delta, width of the bracket in neurons, k*) of every cell that reached its threshold."""
        table = pa.Table.from_pylist(list(self.rows.values()), schema=PROBES)
        found = aggregate.redundancy(table, None, deltas=list(DELTAS)).to_pylist()
        return [
            (r["method"], r["delta"], round((r["bracket_high"] - r["bracket_low"]) * WIDTH), r["n_neurons"])
            for r in found
            if r["rule"] == rule and not r["censored"]
        ]


def rising(setting, method, seed, k):
    """Rise to 0.9 at the whole layer, the seeds a little apart."""
    return 0.9 * (1 - np.exp(-k / 60)) + (0 if k == WIDTH else 0.002 * seed)


def by_method(setting, method, seed, k):
    """Rise at a pace of the method's; a uniform projection is worse than the layer even at k = d."""
    pace = {"random": 60, "pca": 20, "pca_least": 400, "first": 90, "random_projection_uniform": 150}[method]
    most = 0.87 if method == "random_projection_uniform" else 0.9
    return most * (1 - np.exp(-k / pace))


def test_rounds_end_with_narrow_brackets_around_the_true_size():
    world = World(study(), rising).run()
    assert 2 <= world.n_rounds <= 8
    found = world.brackets()
    assert [d for _, d, *_ in found] == list(DELTAS)
    for _, delta, width, star in found:
        assert 0 < width <= TO * WIDTH
        means = [np.mean([rising(None, "random", s, k) for s in (1, 2)]) for k in range(1, WIDTH + 1)]
        truth = 1 + next(i for i, mean in enumerate(means) if mean >= delta * means[-1])
        assert star - width < truth <= star


def test_every_size_has_all_seeds_and_few_sizes_are_measured():
    world = World(study(), rising).run()
    sizes = {(r["seed"], r["n_neurons"]) for r in world.rows.values()}
    assert {k for s, k in sizes if s == 1} == {k for s, k in sizes if s == 2}
    assert 5 < len(sizes) / 2 < 25


def test_the_threshold_of_its_own_is_the_only_one_looked_at():
    world = World(study(delta=0.8), rising).run()
    widths = {delta: width for _, delta, width, _ in world.brackets()}
    assert widths[0.8] <= TO * WIDTH < widths[0.9]


@pytest.mark.parametrize("to", [0.5, 0.05, 0.0001])
def test_a_bracket_is_as_narrow_as_asked_and_never_below_one_neuron(to):
    world = World(study(to=to), rising).run()
    assert all(width <= max(1, to * WIDTH) for *_, width, _ in world.brackets())


def test_the_whole_layer_of_a_mixture_is_that_of_an_order_of_its_neurons():
    methods = ("random", "pca", "pca_least", "first", "random_projection_uniform")
    world = World(study(methods=methods), by_method).run()
    found = world.brackets()
    assert {(m, d) for m, d, *_ in found} == {(m, d) for m in methods for d in DELTAS}
    assert all(width <= TO * WIDTH for *_, width, _ in found)


def test_a_round_waits_until_all_that_the_study_asks_is_measured():
    world = World(study(methods=("random", "pca")), by_method)
    first = world.jobs()
    world.measure(first[:-1])
    assert world.jobs() == first[-1:]
    world.measure(first[-1:])
    second = world.jobs()
    assert {k for *_, k in second}.isdisjoint({1, 100, WIDTH})
    for i in range(len(second)):  # an interrupted round is finished before the next begins
        world.measure(second[i : i + 1])
        assert set(second[i + 1 :]) <= set(world.jobs()) or i == len(second) - 1
    assert set(world.jobs()).isdisjoint(second)


@given(st.randoms(use_true_random=False))
@settings(max_examples=25)
def test_sizes_do_not_depend_on_interruptions(random):
    expected = World(study(methods=("random", "pca")), by_method).run().rows
    world = World(study(methods=("random", "pca")), by_method)
    while jobs := world.jobs():
        world.measure(random.sample(jobs, random.randint(1, len(jobs))))
    assert world.rows == expected


def test_sizes_do_not_depend_on_what_another_study_measured_under_other_names():
    expected = set(World(study(), rising).run().rows)
    world = World(study(), rising)
    setting = world.target.settings[0]
    other = World(study(), rising, names=("x", "y", "z"))
    other.measure([(setting, "random", s, k) for s in (1, 2, 3) for k in (37, 100, 555, WIDTH)])
    before = set(other.rows)
    world.rows.update(other.rows)
    world.run()
    assert expected <= set(world.rows)
    assert set(world.rows) == expected | before


def test_counts_grow_with_the_rounds():
    world = World(study(), rising)
    assert world.plan()[1]["n_probes"] == 6
    world.run()
    counts = world.plan()[1]
    assert counts["n_probes"] == counts["n_probes_done"] == len(world.rows) > 6


def test_ridge_at_every_size_proposes_where_to_look_and_the_solver_decides():
    both = World(study(SGD, RIDGE), rising).run()
    exact = {d: k for (_, d, w, k) in both.brackets() if w == 1}
    assert set(exact) == set(DELTAS)
    assert both.n_rounds == 2  # both thresholds at once, at the first attempt
    for delta, star in exact.items():
        assert {star, star - int(TO * WIDTH)} <= set(both.sizes[1]), delta


def test_a_proposal_that_is_wrong_costs_no_correctness():
    def shifted(setting, method, seed, k):
        return rising(setting, method, seed, min(WIDTH, 3 * k) if setting.solver == "ridge" else k)

    world = World(study(SGD, RIDGE), shifted).run()
    alone = World(study(), rising).run()
    assert all(width <= TO * WIDTH for *_, width, _ in world.brackets())
    sgd = [b for b in world.brackets() if b[2] > 1]
    assert [abs(a[3] - b[3]) <= TO * WIDTH for a, b in zip(alone.brackets(), sgd, strict=True)] == [True, True]


def test_a_control_neither_refines_nor_proposes():
    control = {**RIDGE, "control": "random-labels"}

    def accuracy(setting, method, seed, k):
        return 0.9 if setting.control else rising(setting, method, seed, k)

    world = World(study(SGD, control), accuracy).run()
    assert world.sizes[1:] == World(study(), rising).run().sizes[1:]
    world = World(study(SGD, {"measure": "accuracy", "solver": "ridge", "control": "random-labels"}), rising).run()
    assert {r["n_neurons"] for r in world.rows.values() if "random-labels" in r["protocol"]} == {1, 100, WIDTH}


def test_probes_that_diverge_and_curves_that_never_reach_end_the_search():
    assert World(study(), lambda *_: None).run().n_rounds == 1
    assert World(study(), lambda *_: 0.0).run().n_rounds == 1

    def broken(setting, method, seed, k):
        return None if 100 < k < WIDTH else rising(setting, method, seed, min(k, 50) if k < WIDTH else k)

    assert World(study(), broken).run().n_rounds < 15


def test_a_curve_that_ends_early_is_refined_to_its_end_only():
    wanted = study(methods=("random", "pca")).model_copy()
    wanted = wanted.model_copy(
        update={"subsets": wanted.subsets.model_copy(update={"on_missing_components": "censor"})}
    )
    world = World(wanted, by_method)
    world.target = replace(world.target, n_train=200)
    world.run()
    sizes = {r["n_neurons"] for r in world.rows.values() if r["method"] == "pca"}
    assert max(sizes) == 100
    assert all(width <= TO * WIDTH for m, _, width, _ in world.brackets() if m == "pca")
