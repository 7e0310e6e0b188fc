"""Whether what is planned fits the disk."""

import shutil
from pathlib import Path

from drfarm.planning import StudyPlan
from store import Store


def space_problem(plan: StudyPlan, store: Store | None) -> str | None:
    """Say that the features that are left may not fit; None where they do, or where nobody knows, as in a bucket.

    Parameters
    ----------
    plan
        What is left.
    store
        Its store; None where there is none yet.
    """
    if store is None:
        root = None if "://" in plan.store_url else Path(plan.store_url)
    else:
        root = store.objects.local_root
    if root is None or not plan.jobs_left:
        return None
    made = {} if store is None else {i.key.id: i.n_chunks_done / i.n_chunks for i in store.features.catalogue()}
    needed = sum(j.n_bytes * (1.0 - min(made.get(i, 0.0) for i in j.ids)) for j in plan.jobs_left)
    there = next(p for p in (root, *root.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if needed <= free:
        return None
    return (
        f"{root} has {free / 2**30:.2f} GiB free, and the features need up to {needed / 2**30:.2f} GiB. Free some "
        "space, choose another store with --store, or store float16 features (dtype: float16)."
    )
