"""The end of a study: its last tasks are cut smaller, so that workers finish together. Pure (no I/O)."""

from collections.abc import Sequence
from dataclasses import replace

from probe import ProbeTask, RidgeProtocol, SubsetGroup, Task, sizes_of

TAIL = 1 / 8
"""Tasks that make up this share of all predicted time, and at least one, are halved; the last half of them again ..."""
LEAST_S = 2.0
"""... where a half is predicted to take so long: each half reads the features anew."""


def cut_tail(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Halve the last tasks, the very last twice, and put the parts last.

    As many equal tasks as workers, and one more, would leave all workers but one idle while it runs; and workers drift
    apart over a long study, by about a task. Results do not depend on how subsets are cut into tasks.

    Parameters
    ----------
    tasks
        In the order in which to start, dearest first.

    Returns
    -------
    tuple of Task
        The same subsets, each once, dearest first.
    """
    return _halved(_halved(tasks, TAIL), TAIL / 2)


def _halved(tasks: Sequence[Task], share: float) -> tuple[Task, ...]:
    """Halve the last tasks that make up a share of all predicted time, and at least one."""
    tail_s = share * sum(t.predicted_s for t in tasks)
    kept, halves = list(tasks), list[Task]()
    while kept and (not halves or sum(t.predicted_s for t in halves) + kept[-1].predicted_s <= tail_s):
        halves += _halves(kept.pop())
    return tuple(sorted([*kept, *halves], key=lambda t: -t.predicted_s))


def _halves(task: Task) -> tuple[Task, ...]:
    """Cut a task by groups, or its one group by size, near half of its neurons; itself where neither is possible."""
    if not isinstance(task, ProbeTask) or task.predicted_s < 2 * LEAST_S:
        return (task,)
    if len(task.groups) > 1:
        pieces = [(g, sum(g.sizes)) for g in task.groups]
        cut = _middle([neurons for _, neurons in pieces])
        parts = [tuple(g for g, _ in part) for part in (pieces[:cut], pieces[cut:])]
    else:
        (group,) = task.groups
        if isinstance(task.setting.protocol, RidgeProtocol) or len(group.sizes) == 1:
            return (task,)  # one factorisation serves every size
        cut = _middle(group.sizes)
        parts = [(replace(group, sizes=sizes_of(part)),) for part in (group.sizes[:cut], group.sizes[cut:])]
    whole = _neurons(task.groups)
    return tuple(replace(task, groups=part, predicted_s=task.predicted_s * _neurons(part) / whole) for part in parts)


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
