"""Batches that failed for good: what is kept of each, and finding their work again in a plan. Pure (no I/O).

A batch is named by what is in it, and a later plan may cut the same work otherwise: so a record says which subsets of
which curves it is about, and the tasks of a plan are compared with that.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from probe import CkaTask, ProbeTask, Sizes, StatisticsTask, Task, sizes_of
from store import JSON

Curves = Mapping[str, Collection[int]]
"""Sizes of subsets by the curve that they are of; of statistics, no size."""


def described(task: Task) -> JSON:
    """Return what a record keeps of a task's work: its sizes as text, by curve."""
    return {curve: _text(sizes) for curve, sizes in _curves(task).items()}


def matching(records: Iterable[Mapping[str, Any]], pattern: str | None) -> list[Mapping[str, Any]]:
    """Return the records whose name matches.

    Parameters
    ----------
    records
        As `store` keeps them.
    pattern
        As a shell has it (``*``, ``?``, ``[...]``), or a part of the name; None matches all.
    """
    if pattern is None:
        return list(records)
    return [r for r in records if pattern in str(r["what"]) or fnmatchcase(str(r["what"]), pattern)]


def tasks_of(tasks: Sequence[Task], records: Sequence[Mapping[str, Any]]) -> tuple[Task, ...]:
    """Return what is in quarantine of the tasks that are to run: whole tasks, or parts of them.

    Parameters
    ----------
    tasks
        What a study lacks.
    records
        Failures of that study.

    Returns
    -------
    tuple of Task
        In the order given; statistics that these tasks read come with them.
    """
    wanted = _wanted(records)
    names = {str(r[key]) for r in records if not isinstance(r.get("work"), dict) for key in ("batch_id", "what")}
    found = {}
    for i, task in enumerate(tasks):
        part = task if {task.batch_id, task.title} & names else _part(task, wanted)
        if part is not None:
            found[i] = part
    read = {need for t in found.values() if not isinstance(t, StatisticsTask) for need in t.statistics}
    found |= {
        i: task
        for i, task in enumerate(tasks)
        if isinstance(task, StatisticsTask) and (task.representation_id, task.rows) in read
    }
    return tuple(found[i] for i in sorted(found))


def healed(records: Iterable[Mapping[str, Any]], tasks: Sequence[Task]) -> list[Mapping[str, Any]]:
    """Return the records of probes that nothing is left of: another batch has made what they lacked.

    Parameters
    ----------
    records
        Failures of a study.
    tasks
        What the study lacks still.
    """
    return [r for r in records if r["stage"] == "probe" and not tasks_of(tasks, [r])]


def _curves(task: Task) -> dict[str, Sizes]:
    match task:
        case ProbeTask():
            found: dict[str, Sizes] = {}
            for g in task.groups:  # a curve may be in several groups
                curve = f"{task.setting.digest}|{g.method}|{g.seed}"
                found[curve] = sizes_of((*found[curve], *g.sizes)) if curve in found else g.sizes
            return found
        case CkaTask():
            of = _cka_name(task)
            whole = {f"{of}|{seed}": sizes for seed, sizes in task.part_whole}
            return whole | {f"{of}|{a}|{b}": sizes for a, b, sizes in task.pairs}
        case StatisticsTask():
            return {f"statistics|{task.representation_id}|{task.rows}": ()}


def _part(task: Task, wanted: Curves) -> Task | None:
    """Return the part of a task that is wanted; None where nothing of it is."""
    if wanted.keys().isdisjoint(_curves(task)):
        return None
    match task:
        case StatisticsTask():
            return task
        case ProbeTask():
            groups = tuple(
                replace(g, sizes=sizes)
                for g in task.groups
                if (sizes := _common(g.sizes, wanted.get(f"{task.setting.digest}|{g.method}|{g.seed}", ())))
            )
            return _shortened(task, replace(task, groups=groups)) if groups else None
        case CkaTask():
            of = _cka_name(task)
            whole = tuple(
                (s, sizes) for s, given in task.part_whole if (sizes := _common(given, wanted.get(f"{of}|{s}", ())))
            )
            pairs = tuple(
                (a, b, sizes)
                for a, b, given in task.pairs
                if (sizes := _common(given, wanted.get(f"{of}|{a}|{b}", ())))
            )
            return _shortened(task, replace(task, part_whole=whole, pairs=pairs)) if whole or pairs else None


def _shortened(task: ProbeTask | CkaTask, part: ProbeTask | CkaTask) -> Task:
    """Return a part with its share of the time; the task itself where it is all of it."""
    if part.n_jobs == task.n_jobs:
        return task
    return replace(part, predicted_s=task.predicted_s * part.n_jobs / task.n_jobs)


def _cka_name(task: CkaTask) -> str:
    return f"cka|{task.test_id}|{task.method}|{task.estimator}|{task.train_id}|{task.training_rows}"


def _common(sizes: Sizes, wanted: Collection[int]) -> Sizes:
    return sizes_of(k for k in sizes if k in wanted)


def _wanted(records: Iterable[Mapping[str, Any]]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for record in records:
        work = record.get("work")
        if isinstance(work, dict):
            for curve, text in work.items():
                found.setdefault(curve, set()).update(_sizes(text))
    return found


def _text(sizes: Sizes) -> str:
    """Return sizes as text: ``1-1280`` of a range, ``8,64,512`` of others."""
    if isinstance(sizes, range):
        return f"{sizes[0]}-{sizes[-1]}"
    return ",".join(map(str, sizes))


def _sizes(text: str) -> Sizes:
    if "-" in text:
        first, last = text.split("-")
        return range(int(first), int(last) + 1)
    return tuple(int(k) for k in text.split(",") if k)
