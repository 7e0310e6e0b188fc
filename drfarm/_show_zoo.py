"""How the command shows the zoo of networks. Pure but for looking whether files are there."""

from collections.abc import Sequence

from drfarm._show import text_table
from extract.zoo import PAPER_NETWORKS, ZOO, ZooNetwork, find_weights, weights_folder

_HEADER = ("name", "width", "upstream", "loss", "top-1 %", "measured by")


def models_text(folder: str | None) -> str:
    """List every network of the zoo and whether its file of weights is there; loads no network.

    Parameters
    ----------
    folder
        Weights folder; None takes the usual one (`extract.zoo.weights_folder`).
    """
    paths = {name: find_weights(network, folder) for name, network in ZOO.items()}
    rows = [
        (*_row(network), "present" if paths[name] is not None else "missing", network.file)
        for name, network in ZOO.items()
    ]
    n_there = sum(p is not None for p in paths.values())
    others = [n for n in ZOO if n not in PAPER_NETWORKS]
    return "\n".join(
        [
            text_table((*_HEADER, "weights", "file"), rows),
            "",
            f"The first {len(PAPER_NETWORKS)} are the paper's; its code also ran {', '.join(others)}.",
            (
                f"Weights: {n_there} of {len(ZOO)} files are in {weights_folder(folder)}. Another folder: "
                "weights_folder in the study, or $DRFARM_WEIGHTS."
            ),
            "Known hashes are checked when a network is loaded. Use one with `source: zoo:NAME` and `weights: hub`.",
        ]
    )


def models_markdown() -> str:
    """Return the zoo as a table for the user guide."""
    lines: list[Sequence[str]] = [(*_HEADER, "file", "source"), ("---",) * (len(_HEADER) + 2)]
    for network in ZOO.values():
        source = network.origin if network.url is None else f"[{network.origin}]({network.url})"
        name, *others = _row(network)
        lines.append((f"`{name}`", *others, f"`{network.file}`", source))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _row(network: ZooNetwork) -> tuple[str, ...]:
    top1 = "-" if network.top1 is None else f"{100 * network.top1:.2f}"
    return network.name, str(network.width), network.upstream, network.loss, top1, network.top1_by or "-"
