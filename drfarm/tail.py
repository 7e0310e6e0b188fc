"""Cutting tasks smaller: where there are few, or few are left; those too large for memory. Pure (no I/O)."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from probe import ProbeTask, RidgeProtocol, SubsetGroup, Task, parse_method, sizes_of

LEAST_S = 2.0
"""A task is cut where each part is predicted to take so long: each part reads the features anew."""
MOST_FIXED = 0.5
"""Sizes that are trained together are parted only where what each part costs anew is at most this share of it."""


def at_least(tasks: Sequence[Task], n: int) -> tuple[Task, ...]:
    """Cut the longest of few tasks until there are so many, or none can be cut: each worker has one to begin with.

    Later the queue cuts by itself (`drfarm.farm._waiting`). Results do not depend on how subsets are cut into tasks.

    Returns
    -------
    tuple of Task
        The same subsets, each once; in the given order, the parts of a task in its place.
    """
    found = list(tasks)
    whole: set[str] = set()
    while len(found) < n:
        longest = max(
            (i for i, t in enumerate(found) if t.batch_id not in whole),
            key=lambda i: found[i].predicted_s,
            default=None,
        )
        if longest is None:
            break
        parts = shorter(found[longest])
        if len(parts) == 1:
            whole.add(found[longest].batch_id)
        found[longest : longest + 1] = parts
    return tuple(found)


def shorter(task: Task) -> tuple[Task, ...]:
    """Cut a task by groups, or its one group by size, into two that take about half as long each.

    Returns
    -------
    tuple of Task
        The same subsets, each once; the task itself where neither is possible, or not worth what a part costs anew.
    """
    if not isinstance(task, ProbeTask) or task.predicted_s < 2 * LEAST_S:
        return (task,)
    if len(task.groups) > 1:
        cut = _middle([sum(g.sizes) for g in task.groups])
        return _with_groups(task, (task.groups[:cut], task.groups[cut:]))
    (group,) = task.groups
    if isinstance(task.setting.protocol, RidgeProtocol) or len(group.sizes) == 1:
        return (task,)  # one factorisation serves every size
    cut = _middle(group.sizes)
    parts = _with_groups(task, [(replace(group, sizes=sizes_of(p)),) for p in (group.sizes[:cut], group.sizes[cut:])])
    return (task,) if any(task.stack_s > MOST_FIXED * p.predicted_s for p in parts) else parts


def halves(task: Task) -> tuple[Task, ...]:
    """Cut a task that took more memory than a worker has into two that take less; itself where that is not possible.

    Probes that are trained together take the memory of the largest sizes: the small sizes of every group go into the
    first part, the large ones into the second. What CKA and ridge take does not depend on how many sizes are asked, so
    ridge is cut between its groups, and CKA not at all.

    Parameters
    ----------
    task
        What a worker could not hold.

    Returns
    -------
    tuple of Task
        The same subsets, each once, in one or two tasks.
    """
    if not isinstance(task, ProbeTask):
        return (task,)
    sizes = sorted({k for g in task.groups for k in g.sizes})
    if isinstance(task.setting.protocol, RidgeProtocol) or len(sizes) == 1:
        if len(task.groups) == 1:
            return (task,)
        cut = _middle([sum(g.sizes) for g in task.groups])
        return _with_groups(task, (task.groups[:cut], task.groups[cut:]))
    largest = sizes[_middle(sizes) - 1]
    small = [replace(g, sizes=part) for g in task.groups if (part := sizes_of(k for k in g.sizes if k <= largest))]
    large = [replace(g, sizes=part) for g in task.groups if (part := sizes_of(k for k in g.sizes if k > largest))]
    return _with_groups(task, (small, large))


def _with_groups(task: ProbeTask, parts: Iterable[Sequence[SubsetGroup]]) -> tuple[Task, ...]:
    """Return a task for each part of its groups; time is shared by neurons, but for what each stack costs anyhow."""
    whole = _neurons(task.groups)
    shared_s = max(0.0, task.predicted_s - task.stack_s * _stacks(task.groups))
    return tuple(
        replace(
            task,
            groups=tuple(part),
            predicted_s=task.stack_s * _stacks(part) + shared_s * _neurons(part) / whole,
        )
        for part in parts
    )


def _stacks(groups: Sequence[SubsetGroup]) -> int:
    """Return how many times something is trained: once for all sizes of a nested method."""
    return sum(1 if parse_method(g.method).nested else len(g.sizes) for g in groups)


def _middle(weights: Sequence[int]) -> int:
    """Return where to cut a sequence of at least two so that both parts weigh about the same."""
    half, running = sum(weights) / 2, 0
    best, nearest = 1, float("inf")
    for i, weight in enumerate(weights[:-1], start=1):
        running += weight
        if abs(running - half) < nearest:
            best, nearest = i, abs(running - half)
    return best


def _neurons(groups: Sequence[SubsetGroup]) -> int:
    return sum(sum(g.sizes) for g in groups)
