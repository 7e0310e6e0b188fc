"""Planning: counts, identities, what is done is not planned again, and what can't run is refused."""

import pickle
import socket
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from drfarm.farm import MOST_TASK_BYTES, FarmOptions, _sockets, check_tasks
from drfarm.farm._sockets import check_temporary_folder
from drfarm.planning import plan_study
from drfarm.study import load_study, study_from_dict
from drfarm.targets import Target
from drfarm.tasks import plan_tasks
from probe import CkaTask, Names, ProbeSetting, ProbeTask, StatisticsTask, Validation, cka_job_id, sgd_protocol
from store import InvalidRequest

URL = "s3://bucket/a/prefix"
PROBES, EVERY, PAIRS = {"measure": "accuracy"}, {"measure": "cka", "k": "every"}, {"measure": "cka_pair", "k": "every"}


def study(*measures, **subsets):
    return study_from_dict(
        {
            "study": "planned",
            "store": URL,
            "models": [{"name": "m", "source": "timm:test_resnet", "weights": "random:0"}],
            "datasets": [{"name": "d", "source": "sklearn:digits"}],
            "subsets": subsets or {"n_neurons": [1, 2, 4], "seeds": 3},
            "measures": list(measures) or [PROBES],
        },
        base=Path(),
    )


def target(number: int = 0, *, width: int = 8, n_train: int = 1000, n_protocols: int = 1) -> Target:
    train_id, test_id = f"{2 * number:064x}", f"{2 * number + 1:064x}"
    return Target(
        names=Names(study="planned", model=f"m{number}", layer="penultimate", dataset="d"),
        width=width,
        n_classes=10,
        n_train=n_train,
        n_test=500,
        train_id=train_id,
        test_id=test_id,
        validation=None,
        settings=tuple(
            ProbeSetting(
                train_id=train_id,
                test_id=test_id,
                protocol=replace(sgd_protocol("paper"), version=version + 1),
                validation=None,
            )
            for version in range(n_protocols)
        ),
        item_bytes=4,
    )


def measured_target(wanted, *, validation=None, **changes) -> Target:
    """A target whose settings are those of the study's measures."""
    plain = target(**changes)
    return replace(
        plain,
        validation=validation,
        settings=tuple(
            ProbeSetting(
                train_id=plain.train_id,
                test_id=plain.test_id if m.control is None else plain.train_id,
                protocol=m.settings(),
                validation=validation,
                average=m.average,
                control=m.control,
            )
            for m in wanted.accuracies
        ),
    )


def done(*, probes=(), cka=(), statistics=()):
    """A store in which these jobs are done and these statistics counted."""
    return SimpleNamespace(
        results=SimpleNamespace(jobs={"probes": set(probes), "cka": set(cka)}.__getitem__),
        statistics=SimpleNamespace(exists=lambda *need: need in statistics),
    )


def plan(wanted, *targets, store=None):
    notes = []
    tasks, counts = plan_tasks(wanted, URL, targets or (target(),), store, notes)
    return tasks, counts, notes


def job_ids(tasks) -> list[str]:
    found = []
    for t in tasks:
        if isinstance(t, ProbeTask):
            found += [t.setting.job_id(g.method, g.seed, k) for g in t.groups for k in g.sizes]
        elif isinstance(t, CkaTask):
            found += [cka_job_id(t.test_id, "part_whole", t.method, s, None, k) for s, ks in t.part_whole for k in ks]
            found += [cka_job_id(t.test_id, "pair", t.method, a, b, k) for a, b, ks in t.pairs for k in ks]
    return found


def test_counts_are_those_of_the_grid():
    measures = (PROBES, PROBES, EVERY, {"measure": "cka_pair"})
    wanted = study(*measures, n_neurons=[1, 2, 4], seeds=3, methods=["random", "first"])
    tasks, counts, notes = plan(wanted, target(0, n_protocols=2), target(1, n_protocols=2))
    n_sizes, n_seeds, n_methods, n_targets = 4, 3, 2, 2  # the whole layer is measured too
    n_probes = n_targets * 2 * n_methods * n_seeds * n_sizes
    # One fixed order has one value, and two parts of it are the same part.
    n_cka = n_targets * (n_seeds * 8 + 1 * 8 + 3 * n_sizes)
    assert counts == {"n_probes": n_probes, "n_probes_done": 0, "n_cka": n_cka, "n_cka_done": 0}
    found = job_ids(tasks)
    assert len(found) == len(set(found)) == n_probes + n_cka == sum(t.n_jobs for t in tasks)
    assert set(notes) == {"The whole layer is measured too: DR compares with it."}


def test_a_measure_that_is_named_twice_runs_once():
    tasks, _, _ = plan(study(PROBES, PROBES), replace(target(), settings=2 * target().settings))
    assert len(job_ids(tasks)) == len(set(job_ids(tasks))) == 12


def test_ids_do_not_depend_on_the_order_of_the_study():
    a, _, _ = plan(study(PROBES, EVERY, n_neurons=[1, 2, 4], seeds=[1, 2, 3]), target(0), target(1))
    b, _, _ = plan(study(EVERY, PROBES, n_neurons=[4, 1, 2], seeds=[3, 1, 2]), target(1), target(0))
    assert sorted(job_ids(a)) == sorted(job_ids(b))
    probes = [{t.batch_id for t in tasks if isinstance(t, ProbeTask)} for tasks in (a, b)]
    assert probes[0] == probes[1]


def test_ids_do_not_depend_on_names():
    a, _, _ = plan(study(PROBES, EVERY))
    named = replace(target(), names=Names(study="other", model="other", layer="other", dataset="other"))
    b, _, _ = plan(study(PROBES, EVERY), named)
    assert [t.batch_id for t in a] == [t.batch_id for t in b]


def test_what_is_done_is_not_planned_again():
    wanted = study(PROBES, EVERY, PAIRS)
    everything = job_ids(plan(wanted)[0])
    tasks, counts, _ = plan(wanted, store=done(probes=everything, cka=everything))
    assert tasks == ()
    assert counts["n_probes_done"] == counts["n_probes"] == 12
    assert counts["n_cka_done"] == counts["n_cka"] == 48
    for kept in (everything[::2], everything[:5], everything[-1:]):
        tasks, counts, _ = plan(wanted, store=done(probes=kept, cka=kept))
        assert sorted(job_ids(tasks)) == sorted(set(everything) - set(kept))
        assert counts["n_probes_done"] + counts["n_cka_done"] == len(kept)


def test_a_fraction_below_one_neuron_is_told():
    tasks, _, notes = plan(study(PROBES, fractions=[0.01, 0.5, 1.0]))
    assert {k for t in tasks for g in t.groups for k in g.sizes} == {4, 8}
    assert len(notes) == 1
    assert notes[0].startswith("m0/penultimate has 8 neurons: fractions below 0.1250 are no neuron and are left out")


def test_a_subset_larger_than_its_layer_is_refused_with_both_numbers():
    with pytest.raises(InvalidRequest, match=r"model 'm0', layer 'penultimate'.*n_neurons 9 .*the 8 neurons"):
        plan(study(PROBES, n_neurons=[9]))


@pytest.mark.parametrize("n_done", [0, 3])
def test_a_task_stays_small_at_every_size_of_a_wide_layer(n_done):
    wide = target(width=4096, n_train=50_000)
    wanted = study(PROBES, EVERY, PAIRS, grid="paper", seeds=5)
    grid = [k for t in plan(study(PROBES, grid="paper"), wide)[0] for g in t.groups for k in g.sizes]
    seeds = range(1, 6)
    cka = [cka_job_id(wide.test_id, "part_whole", "random", s, None, k) for s in seeds for k in grid]
    cka += [cka_job_id(wide.test_id, "pair", "random", a, b, k) for a in seeds for b in seeds for k in grid]
    tasks, _, _ = plan(wanted, wide, store=done(cka=cka if n_done else ()))
    assert any(isinstance(t, CkaTask) for t in tasks)
    for task in tasks:
        assert len(pickle.dumps(task)) < MOST_TASK_BYTES, task.title


RIDGE, LOGISTIC = {"measure": "accuracy", "solver": "ridge"}, {"measure": "accuracy", "solver": "logistic"}


def statistics_tasks(tasks):
    return [t for t in tasks if isinstance(t, StatisticsTask)]


def test_statistics_are_counted_once_before_the_tasks_that_read_them_and_only_where_missing():
    methods = ["random", "pca", "ranked"]
    wanted = study(PROBES, RIDGE, LOGISTIC, EVERY, n_neurons=[1, 2, 4], seeds=2, methods=methods)
    validation = Validation(fraction=0.1)
    mine = measured_target(wanted, validation=validation)
    tasks, _, _ = plan(wanted, mine, mine)
    counted = [(t.representation_id, t.rows) for t in statistics_tasks(tasks)]
    read = {need for t in tasks if not isinstance(t, StatisticsTask) for need in t.statistics}
    assert sorted(counted) == sorted(read) == sorted({(mine.test_id, "all"), (mine.train_id, validation.training_rows)})
    assert statistics_tasks(tasks) == list(tasks[: len(counted)])
    assert all(t.predicted_s > 0 and t.predicted_bytes > 0 for t in tasks)
    tasks, _, _ = plan(wanted, mine, store=done(statistics=counted[:1]))
    assert [(t.representation_id, t.rows) for t in statistics_tasks(tasks)] == counted[1:]
    tasks, _, _ = plan(wanted, mine, store=done(statistics=counted))
    assert statistics_tasks(tasks) == []


def test_random_subsets_under_sgd_need_no_statistics():
    assert statistics_tasks(plan(study(PROBES))[0]) == []
    uncentred = study(PROBES, n_neurons=[1], seeds=1, methods=["random", "first", "random_projection"])
    assert statistics_tasks(plan(uncentred, measured_target(uncentred))[0]) == []


def seeds_of(tasks):
    return {(g.method, g.seed) for t in tasks if isinstance(t, ProbeTask) for g in t.groups}


@pytest.mark.parametrize(
    ("measure", "varies"),
    [
        (PROBES, True),
        ({**PROBES, "protocol": "as-released:main"}, False),  # its initial weights do not follow the seed
        (RIDGE, False),
        (LOGISTIC, False),
    ],
)
def test_one_seed_serves_where_nothing_depends_on_it(measure, varies):
    wanted = study(measure, n_neurons=[1, 2], seeds=3, methods=["random", "first", "pca"])
    tasks, counts, _ = plan(wanted, measured_target(wanted))
    seeds = {1, 2, 3}
    expected = {("random", s) for s in seeds} | {(m, s) for m in ("first", "pca") for s in (seeds if varies else {1})}
    assert seeds_of(tasks) == expected
    assert counts["n_probes"] == 3 * len(expected)


def test_more_components_than_rows_are_refused_with_both_numbers_or_end_the_curve():
    asked = {"n_neurons": [2, 6], "seeds": 1, "methods": ["random", "pca", "pca_least"]}
    wanted = study(RIDGE, {"measure": "cka"}, **asked)
    with pytest.raises(InvalidRequest, match=r"method 'pca'.* has 5 training rows, hence 4 principal.*size of 8 is.*"):
        plan(wanted, measured_target(wanted, n_train=5))
    wanted = study(RIDGE, {"measure": "cka"}, **asked, on_missing_components="censor")
    tasks, counts, notes = plan(wanted, measured_target(wanted, n_train=5))
    sizes = {g.method: g.sizes for t in tasks if isinstance(t, ProbeTask) for g in t.groups}
    assert sizes == {"random": (2, 6, 8), "pca": (2,), "pca_least": (2,)}
    assert {t.method: t.part_whole for t in tasks if isinstance(t, CkaTask)} == {
        "random": ((1, (2, 6, 8)),),
        "pca": ((1, (2,)),),
        "pca_least": ((1, (2,)),),
    }
    assert counts["n_probes"] == counts["n_cka"] == 5
    assert sum("the curves of pca end there" in n for n in set(notes)) == 1
    assert "m0/penultimate on d has 5 training rows, hence 4 principal components" in " ".join(notes)
    # Rows that are held out are no training rows.
    tasks, *_ = plan(wanted, measured_target(wanted, n_train=10, validation=Validation(fraction=0.3)))
    sizes = {g.method: g.sizes for t in tasks if isinstance(t, ProbeTask) for g in t.groups}
    assert sizes["pca"] == (2, 6)


def test_a_control_is_scored_on_the_rows_it_is_trained_on():
    wanted = study(RIDGE, {**RIDGE, "control": "random-labels"})
    mine = measured_target(wanted)
    tested = {t.setting.control: t.setting.test_id for t in plan(wanted, mine)[0] if isinstance(t, ProbeTask)}
    assert tested == {None: mine.test_id, "random-labels": mine.train_id}


def test_a_measure_takes_its_own_methods():
    wanted = study(
        {**RIDGE, "methods": ["first"]},
        {"measure": "cka", "methods": ["random"]},
        n_neurons=[1],
        seeds=1,
        methods=["random", "first", "pca"],
    )
    tasks, _, _ = plan(wanted, measured_target(wanted))
    assert seeds_of(tasks) == {("first", 1)}
    assert {t.method for t in tasks if isinstance(t, CkaTask)} == {"random"}


def test_each_estimator_has_values_of_its_own():
    kinds = ("biased", "debiased", "minibatch")
    wanted = study(*({"measure": "cka", "estimator": e} for e in kinds), n_neurons=[1], seeds=2)
    mine = measured_target(wanted)
    tasks, counts, _ = plan(wanted, mine)
    assert counts["n_cka"] == 3 * 2 * 2
    found = [
        t.job_id("part_whole", s, None, k)
        for t in tasks
        if isinstance(t, CkaTask)
        for s, ks in t.part_whole
        for k in ks
    ]
    assert len(set(found)) == 12
    assert plan(wanted, mine, store=done(cka=found))[1]["n_cka_done"] == 12


def test_every_size_of_a_layer_of_a_hundred_thousand_neurons_travels_as_a_range():
    wanted = study({**RIDGE, "k": "every"}, n_neurons=[10, 1000], seeds=5)
    wide = measured_target(wanted, width=100_000, n_train=50_000)
    tasks, counts, _ = plan(wanted, wide)
    assert counts["n_probes"] == 500_000
    probes = [t for t in tasks if isinstance(t, ProbeTask)]
    assert {g.sizes for t in probes for g in t.groups} == {range(1, 100_001)}
    assert all(len(pickle.dumps(t)) < MOST_TASK_BYTES for t in tasks)
    assert all(t.detailed == {10, 1000, 100_000} for t in probes)


def test_a_task_stays_small_where_only_the_grid_of_every_size_is_done():
    ridge = {**RIDGE, "k": "every"}
    wanted = study(ridge, grid="paper", seeds=5, methods=["random", "first", "pca"])
    wide = measured_target(wanted, width=8192, n_train=50_000)
    grid = study(RIDGE, grid="paper", seeds=5, methods=["random", "first", "pca"])
    finished = job_ids(plan(grid, measured_target(grid, width=8192, n_train=50_000))[0])
    tasks, counts, _ = plan(wanted, wide, store=done(probes=finished))
    assert counts["n_probes_done"] == len(finished) > 100
    assert all(len(pickle.dumps(t)) < MOST_TASK_BYTES for t in tasks)


def test_memory_is_predicted_for_every_kind_of_task_and_grows_with_the_layer():
    wanted = study(PROBES, RIDGE, LOGISTIC, EVERY, n_neurons=[4], seeds=1, methods=["pca"])
    narrow, wide = (
        {type(t).__name__ + getattr(getattr(t, "setting", None), "solver", ""): t.predicted_bytes for t in tasks}
        for tasks in (plan(wanted, measured_target(wanted, width=w, n_train=50_000))[0] for w in (512, 4096))
    )
    assert (
        set(narrow) == set(wide) == {"StatisticsTask", "CkaTask", "ProbeTasksgd", "ProbeTaskridge", "ProbeTasklogistic"}
    )
    for kind, n_bytes in narrow.items():
        assert wide[kind] > n_bytes + 8 * (4096**2 - 512**2), kind


def test_stacks_too_large_for_the_memory_are_split_by_size_over_tasks():
    wanted = study(PROBES, n_neurons=[1, 1000, 4000], seeds=1)
    mine = replace(measured_target(wanted, width=8192, n_train=1000), n_classes=10_000)
    tasks, _, _ = plan(wanted, mine)
    assert len(tasks) > 1
    assert sorted(k for t in tasks for g in t.groups for k in g.sizes) == [1, 1000, 4000, 8192]


@pytest.mark.slow
def test_a_hundred_thousand_probes_are_planned_in_seconds():
    wanted = study(PROBES, grid="paper", seeds=5, methods=["random", "first"])
    per_target = plan(wanted, target(width=2048))[1]["n_probes"]
    targets = [target(i, width=2048, n_train=50_000) for i in range(-(-100_000 // per_target))]
    began = time.perf_counter()
    tasks, counts, _ = plan(wanted, *targets)
    took_s = time.perf_counter() - began
    assert counts["n_probes"] >= 100_000
    print(f"{counts['n_probes']:,} probes in {len(tasks):,} tasks planned in {took_s:.2f} s")
    assert took_s < 15
    everything = job_ids(tasks)
    began = time.perf_counter()
    tasks, _, _ = plan(wanted, *targets, store=done(probes=everything))
    print(f"a finished plan of as many in {time.perf_counter() - began:.2f} s")
    assert tasks == ()
    assert time.perf_counter() - began < 15


def test_a_task_that_needs_more_memory_than_a_worker_has_is_refused_with_both_numbers():
    tasks, _, _ = plan(study(PROBES), target(width=2048, n_train=500_000))  # 3.8 GiB of features
    with pytest.raises(InvalidRequest, match=r"m0/penultimate.* needs about 5,[34]\d\d MiB.* has 2,048 MiB.*--workers"):
        check_tasks(tasks, FarmOptions(n_workers=1, memory_limit_bytes=2 * 2**30))
    check_tasks(tasks, FarmOptions(n_workers=1, memory_limit_bytes=6 * 2**30))
    check_tasks((), FarmOptions(n_workers=1, memory_limit_bytes=1))


def test_the_number_of_workers_is_that_of_cores_and_never_above_that_of_tasks():
    assert FarmOptions(n_workers=4).workers(9) == 4
    assert FarmOptions(n_workers=4).workers(3) == 3
    assert FarmOptions(n_workers=4).workers(0) == 1
    assert 1 <= FarmOptions().workers(10_000) <= 10_000
    assert FarmOptions().memory(2) * 2 < FarmOptions().memory(1) * 1.01


def test_a_plan_starts_nothing_and_makes_no_store(pets, study_in):
    planned = plan_study(load_study(study_in(pets)))
    assert (planned.n_probes, planned.n_probes_done, planned.n_cka) == (6, 0, 0)
    assert sum(t.n_jobs for t in planned.tasks) == 6
    assert [j.name for j in planned.jobs_left] == [j.name for j in planned.jobs]
    assert planned.predicted_s > 0
    assert not (pets / "store").exists()


def test_a_finished_plan_has_nothing_left(finished):
    planned = plan_study(load_study(finished.file))
    assert planned.tasks == planned.jobs_left == ()
    assert planned.n_probes == planned.n_probes_done == 12
    assert planned.n_cka == planned.n_cka_done


def test_a_temporary_folder_with_too_long_a_name_is_refused_before_any_worker_starts(monkeypatch, tmp_path):
    monkeypatch.setattr(_sockets, "METHOD", "forkserver")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp/" + "x" * 70)
    check_temporary_folder()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp/" + "ü" * 36)
    with pytest.raises(InvalidRequest, match=r"has a name of 77 bytes.* 75 bytes is the most.*Set TMPDIR"):
        check_temporary_folder()
    task = SimpleNamespace(predicted_bytes=1)
    with pytest.raises(InvalidRequest, match="Set TMPDIR"):
        check_tasks([task], FarmOptions(n_workers=1))
    check_tasks([task], FarmOptions(scheduler="tcp://127.0.0.1:1"))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="Unix sockets")
def test_the_longest_name_that_is_allowed_works(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="s", dir="/tmp") as folder:
        longest = Path(folder, "y" * (75 - len(folder) - 1))
        longest.mkdir()
        monkeypatch.setattr(tempfile, "gettempdir", lambda: str(longest))
        check_temporary_folder()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(longest) + _sockets._NAME.replace("/listener", "-listener"))
            too_long = str(longest) + "z" + _sockets._NAME.replace("/listener", "-listener")
            with pytest.raises(OSError, match="too long"), socket.socket(socket.AF_UNIX) as other:
                other.bind(too_long)
