"""Write a figure to disk: the same bytes for the same figure, whole files or none."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from aggregate.errors import InvalidOption
from store.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FigureFormat: TypeAlias = Literal["png", "pdf", "svg"]

# Software and dates would change the bytes with the version of matplotlib and the day.
_METADATA: Final[dict[FigureFormat, dict[str, None]]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
    "svg": {"Date": None, "Creator": None},
}
# Names of clip paths and markers are hashes of their content and of this, which is random where it is not given.
_SVG_SALT: Final = "drfarm"
_DPI: Final = 200


def save_figure(fig: "Figure", path_stem: str | Path, formats: Sequence[FigureFormat] = ("png", "pdf")) -> list[Path]:
    """Write `<path_stem>.png` (200 dpi), `<path_stem>.pdf` and others, each replaced as a whole.

    Parameters
    ----------
    path_stem
        Path without suffix; a dot in the name is kept. The folder must exist.
    formats
        Some of `png`, `pdf` and `svg`.

    Returns
    -------
    list[Path]
        The files written, in the order of the formats.

    Raises
    ------
    InvalidOption
        If the folder does not exist, or a format is unknown.
    """
    from matplotlib import rc_context

    unknown = [name for name in formats if name not in _METADATA]
    if unknown or not formats:
        raise InvalidOption(f"formats must be some of {', '.join(_METADATA)}, got {', '.join(unknown) or 'none'}")
    stem = Path(path_stem)
    if not stem.parent.is_dir():
        raise InvalidOption(f"the folder of a figure must exist, got {str(stem)!r}: create {str(stem.parent)!r} first")
    paths = []
    for suffix in formats:
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": _SVG_SALT}):
            fig.savefig(buffer, format=suffix, dpi=_DPI, metadata=_METADATA[suffix])
        path = stem.with_name(f"{stem.name}.{suffix}")
        with whole_file(path) as partial:
            partial.write_bytes(buffer.getvalue())
        paths.append(path)
    return paths
