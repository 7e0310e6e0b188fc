"""How many principal components a target has, and what a study does about sizes beyond them. Pure (no I/O)."""

from drfarm.errors import InvalidStudy
from drfarm.study import Study
from drfarm.targets import Target
from probe import Method, Sizes, sizes_of


def with_components(study: Study, target: Target, method: Method, sizes: Sizes, notes: list[str]) -> Sizes:
    """Return the sizes for which a method has enough principal components. Adds to ``notes`` where curves end."""
    if not method.limited_by_rows:
        return sizes
    n_rows = target.n_fitted * target.n_views
    n_components = min(n_rows - 1, target.width)
    enough = sizes_of(k for k in sizes if k <= n_components)
    if len(enough) == len(sizes):
        return sizes
    n = target.names
    what = (
        f"{n.model}/{n.layer} on {n.dataset} has {n_rows:,} training rows, hence {n_components:,} principal components"
    )
    if study.subsets.on_missing_components == "error":
        raise InvalidStudy(
            f"method {method.label!r}: {what}, and a size of {max(sizes):,} is asked for. Write "
            "`on_missing_components: censor` under subsets to end its curve there, or leave the larger sizes out."
        )
    notes.append(f"{what}: the curves of {method.label} end there.")
    return enough
