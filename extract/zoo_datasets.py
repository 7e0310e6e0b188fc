"""``zoo:NAME``: the data sets of the paper, with its splits and sizes; a copy with other sizes is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from extract._arrays import ArraySamples
from extract._class_names import digits, imagenet_wnids
from extract._folder import FolderSamples, list_classes
from extract._torchvision_classes import CLASSES
from extract._torchvision_sets import look_for, open_torchvision
from extract._user_folders import data_folder
from extract.errors import InvalidDataset
from store.errors import UnknownName

VAL_FRACTION = 0.1
VAL_SEED = 0
V2_FOLDER = "imagenetv2-matched-frequency-format-val"
_V2_FETCH = "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooSplit:
    """One split of a data set of the zoo."""

    n_samples: int
    """Images that it was published with."""
    torchvision: str | None
    """Class of ``torchvision.datasets`` that reads it; None: ImageNetV2's folders."""
    split: str
    """Its name there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooDataset:
    """One data set of the paper."""

    splits: Mapping[str, ZooSplit]
    """Name to split."""
    roles: Mapping[str, str]
    """Role (``train``, ``val``, ``test``) to the name of its split."""
    n_classes: int
    """Classes."""


def _vision(name: str, **sizes: int) -> dict[str, ZooSplit]:
    return {
        s.replace("_", "-"): ZooSplit(n_samples=n, torchvision=name, split=s.replace("_", "-"))
        for s, n in sizes.items()
    }


_IMAGENET_TRAIN = _vision("ImageNet", train=1_281_167)

ZOO: Mapping[str, ZooDataset] = {
    "cifar10": ZooDataset(
        splits=_vision("CIFAR10", train=50_000, test=10_000),
        roles={"train": "train", "test": "test"},
        n_classes=10,
    ),
    "cifar100": ZooDataset(
        splits=_vision("CIFAR100", train=50_000, test=10_000),
        roles={"train": "train", "test": "test"},
        n_classes=100,
    ),
    "flowers102": ZooDataset(
        splits=_vision("Flowers102", train=1_020, val=1_020, test=6_149),
        roles={"train": "train", "val": "val", "test": "test"},
        n_classes=102,
    ),
    "oxford-iiit-pets": ZooDataset(
        splits=_vision("OxfordIIITPet", trainval=3_680, test=3_669),
        roles={"train": "trainval", "test": "test"},
        n_classes=37,
    ),
    "imagenet": ZooDataset(
        splits=_IMAGENET_TRAIN | _vision("ImageNet", val=50_000),
        roles={"train": "train", "test": "val"},
        n_classes=1_000,
    ),
    # Probes are trained on ImageNet and scored on V2 (the paper's Fig. 20): a split may come from another data set.
    "imagenetv2": ZooDataset(
        splits=_IMAGENET_TRAIN | {"test": ZooSplit(n_samples=10_000, torchvision=None, split="test")},
        roles={"train": "train", "test": "test"},
        n_classes=1_000,
    ),
    "places365": ZooDataset(
        splits=_vision("Places365", train_standard=1_803_460, val=36_500),
        roles={"train": "train-standard", "test": "val"},
        n_classes=365,
    ),
}
"""The data sets of the paper."""


def zoo_splits(name: str) -> dict[str, str | float | int]:
    """Return the splits of a data set as a study writes them.

    Keys are roles with the names of their splits; where the paper validates on a part of the training split, also
    ``val_fraction`` and ``val_seed``.

    Raises
    ------
    UnknownName
        If the zoo has no such data set.
    """
    roles = _known(name).roles
    return {**roles} if "val" in roles else {**roles, "val_fraction": VAL_FRACTION, "val_seed": VAL_SEED}


def zoo_sizes(name: str) -> dict[str, int]:
    """Return the images that the paper trains on, validates on and scores: ``train``, ``val``, ``test``.

    Raises
    ------
    UnknownName
        If the zoo has no such data set.
    """
    entry = _known(name)
    sizes = {role: entry.splits[split].n_samples for role, split in entry.roles.items()}
    if "val" in sizes:
        return sizes
    # As `probe` holds rows out, and as the authors' code does: int((1 - 0.1) n) rows are left to train on.
    n_fitted = int((1 - VAL_FRACTION) * sizes["train"])
    return {"train": n_fitted, "val": sizes["train"] - n_fitted, "test": sizes["test"]}


def open_zoo(
    name: str, split: str, splits: Sequence[str], *, root: str | None, kept: tuple[str, ...] | None, where: str
) -> FolderSamples | ArraySamples:
    """Open one split of a data set of the paper.

    Raises
    ------
    UnknownName
        If there is no such data set or split.
    InvalidDataset
        If files are missing, damaged, or more or fewer than were published.
    """
    entry = _known(name, where=where)
    for s in dict.fromkeys((*splits, split)):
        if s not in entry.splits:
            raise UnknownName.among(f"split of zoo:{name}", s, entry.splits, where=where)
    chosen = entry.splits[split]
    samples: FolderSamples | ArraySamples
    if chosen.torchvision is None:
        samples = open_v2(root, kept=kept, where=where)
    else:
        same = [s for s in splits if entry.splits[s].torchvision == chosen.torchvision]
        samples = open_torchvision(chosen.torchvision, chosen.split, same, root=root, kept=kept, where=where)
    for what, got, expected in (
        ("images", len(samples), chosen.n_samples),
        ("classes", len(samples.classes), entry.n_classes),
    ):
        if got != expected:
            raise InvalidDataset(
                f"{where}: zoo:{name} has {expected:,} {what} in this split, this copy has {got:,}. Complete it, or "
                f"say that it is something else: source torchvision:{chosen.torchvision or 'CLASS'} or folder:PATH."
            )
    return samples


def open_v2(root: str | None, *, kept: tuple[str, ...] | None, where: str) -> FolderSamples:
    """Open ImageNetV2: folders are called by the number of their class, in the order of ImageNet's WordNet ids.

    Read as text, folder 10 would come before folder 2 and be called class 2 (ImageFolder does that). Classes get the
    names that ImageNet's folders have, so that a probe trained there can be scored here.

    Raises
    ------
    InvalidDataset
        If it isn't there, or a folder is missing or has another name.
    """
    base = data_folder(root) / V2_FOLDER
    if not base.is_dir():
        raise InvalidDataset(
            f"{where}: there is no folder {base}. Nothing is downloaded: fetch {_V2_FETCH} and unpack it in "
            f"{base.parent}. Or say where the files are, with `root` or DRFARM_DATA."
        )
    wnids = imagenet_wnids()
    numbers = digits(len(wnids))
    have = {p.name for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")}
    for what, wrong in (
        ("lacks the folder", set(numbers) - have),
        ("has a folder that is no class", have - set(numbers)),
    ):
        if wrong:
            shown = ", ".join(sorted(wrong)[:_SHOWN])
            raise InvalidDataset(
                f"{where}: {base} {what}: {shown} ({len(wrong)} in all); expected the folders 0 to {len(wnids) - 1}. "
                f"Fetch again {_V2_FETCH}."
            )
    return list_classes(base, numbers, wnids, kept=kept, where=where)


def absent_splits(name: str, root: str | None) -> dict[str, tuple[tuple[Path, ...], str]]:
    """Return the splits that are not on this disk: for each what is missing, and what to fetch.

    Raises
    ------
    UnknownName
        If the zoo has no such data set.
    """
    absent: dict[str, tuple[tuple[Path, ...], str]] = {}
    for split, entry in _known(name).splits.items():
        if entry.torchvision is None:
            folder = data_folder(root) / V2_FOLDER
            missing, fetch = ([] if folder.is_dir() else [folder]), _V2_FETCH
        else:
            _, missing = look_for(entry.torchvision, entry.split, root)
            fetch = CLASSES[entry.torchvision].fetch
        if missing:
            absent[split] = (tuple(missing), fetch)
    return absent


def _known(name: str, *, where: str = "") -> ZooDataset:
    if name not in ZOO:
        raise UnknownName.among("data set of the zoo", name, ZOO, where=where)
    return ZOO[name]
