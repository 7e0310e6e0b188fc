"""The zoo: the networks of the paper by name, and where their weights are expected. Importing it loads no torch."""

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from extract._zoo_catalogue import NETWORKS
from extract._zoo_record import ZooNetwork
from store.errors import UnknownName

__all__ = [
    "PAPER_NETWORKS",
    "WEIGHTS_VARIABLE",
    "ZOO",
    "ZooNetwork",
    "find_weights",
    "how_to_get",
    "weights_folder",
    "zoo_network",
]

ZOO: Mapping[str, ZooNetwork] = MappingProxyType({n.name: n for n in NETWORKS})
"""Every network of the zoo by name, those of the paper first."""
PAPER_NETWORKS: tuple[str, ...] = tuple(n.name for n in NETWORKS if n.in_paper)
"""Names of the 31 networks of the paper, in the order of its tables."""
WEIGHTS_VARIABLE = "DRFARM_WEIGHTS"
"""Environment variable that names the weights folder."""


def zoo_network(name: str, *, where: str = "") -> ZooNetwork:
    """Return a network of the zoo by name.

    Raises
    ------
    UnknownName
        If there is none, with the nearest name.
    """
    if name not in ZOO:
        raise UnknownName.among("zoo network", name, ZOO, where=where)
    return ZOO[name]


def weights_folder(folder: str | None = None) -> Path:
    """Return where the zoo's weights lie: ``folder``, else ``$DRFARM_WEIGHTS``, else ``~/.cache/drfarm/weights``."""
    return Path(folder or os.environ.get(WEIGHTS_VARIABLE) or "~/.cache/drfarm/weights").expanduser()


def find_weights(network: ZooNetwork, folder: str | None = None) -> Path | None:
    """Return the file of a network in the weights folder, under any of its names; None where it is not there."""
    root = weights_folder(folder)
    files = (root / name for name in (network.file, *network.aliases))
    return next((f for f in files if f.is_file()), None)


def how_to_get(network: ZooNetwork, folder: str | None = None) -> str:
    """Say in one sentence where a network's file comes from and where to put it."""
    target = weights_folder(folder) / network.file
    if network.url is None:
        return (
            f"The weights are not published ({network.origin}): train such a network or ask the paper's authors, and "
            f"put the file at {target}."
        )
    verb = "Get" if network.url.endswith(network.file) else f"Get {network.file} from the list at"
    return f"{verb} {network.url} ({network.origin}), and put it at {target}."
