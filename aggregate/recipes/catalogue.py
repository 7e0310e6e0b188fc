"""Every figure and table of the paper, declared: `fig1` ... `fig22` and `table1`. Data only.

Panels, lines and grids from the paper's captions and its authors' notebooks; where these do not say (which panels
Figures 11 to 13 print), the notes do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from aggregate.delta_figure import HIGH_DELTAS, PAPER_DELTAS
from aggregate.recipes import grids
from aggregate.recipes.cast import DROPOUT, FOUR, WIDTHS
from aggregate.recipes.declare import Block, Entry, Recipe

_STANDARD: Final = Entry(model="resnet50", grid=grids.WIDE)
_ROBUST: Final = Entry(model="resnet50-AT", grid=grids.WIDE)
_BOTH: Final = (_STANDARD, _ROBUST)
_MRL_RANDOM: Final = Entry(model="resnet50-mrl", grid=grids.DOUBLING)
_MRL_FIRST: Final = Entry(model="resnet50-mrl", grid=grids.DOUBLING, method="first", n_seeds=1)
_LOSSES: Final = (_STANDARD, _ROBUST, _MRL_RANDOM, _MRL_FIRST)
_ARCHITECTURES: Final = (
    Entry(model="vgg16_bn", grid=grids.MIDDLE),
    Entry(model="vgg16_bn-AT", grid=grids.MIDDLE),
    Entry(model="resnet18", grid=grids.NARROW),
    Entry(model="resnet18-AT", grid=grids.NARROW),
    *_BOTH,
    Entry(model="wrn50_2", grid=grids.WIDE),
    Entry(model="wrn50_2-AT", grid=grids.WIDE),
    Entry(model="vit_s16-1k", grid=grids.MIDDLE),
    Entry(model="vit_s32-1k", grid=grids.MIDDLE),
)
_UPSTREAM: Final = (
    *_ARCHITECTURES[-2:],
    Entry(model="vit_s16-21k", grid=grids.FEW, n_seeds=10),
    Entry(model="vit_s32-21k", grid=grids.FEW, n_seeds=10),
)
_REGULARISED: Final = (
    *(Entry(model=f"resnet50-dropout{rate}", grid=grids.REGULARISED, n_seeds=1) for rate in DROPOUT),
    Entry(model="resnet50-decov0.0001", grid=grids.DECORRELATED, n_seeds=1),
)
_MIDDLE_LAYERS: Final = (
    *(f"layer{stage}.{block}.act3" for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)) for block in range(blocks)),
    "penultimate",
)
_WHICH_PANELS: Final = (
    "The authors' notebook draws 16 maps; which of them the paper prints in Figures 11, 12 and 13 is not stated. Here "
    "11 is the standard ResNet50, 12 the adversarially trained one, 13 the Matryoshka one, first and random."
)
_CKA_NOTE: Final = "The paper's CKA is of the first 1,000 test images in batches of 100."


def _with(entries: tuple[Entry, ...], **changes: object) -> tuple[Entry, ...]:
    wanted = [{"model": e.model, "grid": e.grid, "method": e.method, "n_seeds": e.n_seeds} | changes for e in entries]
    return tuple(Entry(**settings) for settings in wanted)  # type: ignore[arg-type]


def _by_dataset(form: str, entries: tuple[Entry, ...], **settings: object) -> tuple[Block, ...]:
    """One block with a panel for each of the four data sets, a line for each entry."""
    return (Block(form=form, entries=entries, datasets=FOUR, panel="dataset", **settings),)  # type: ignore[arg-type]


def _by_model(form: str, entries: tuple[Entry, ...], **settings: object) -> Block:
    """One block with a panel for each network, a line for each of the four data sets."""
    return Block(form=form, entries=entries, datasets=FOUR, panel="model", **settings)  # type: ignore[arg-type]


_RECIPES: Final = (
    Recipe(
        name="fig1",
        title="Diffused redundancy in a ResNet50, standard and adversarially trained: accuracy, DR, CKA with the whole",
        blocks=(
            _by_model("fraction", _BOTH),
            _by_model("delta", _BOTH, deltas=PAPER_DELTAS),
            _by_model("fraction", _with(_BOTH, grid=grids.SIMILARITY), measure="cka"),
        ),
        notes=(_CKA_NOTE,),
    ),
    Recipe(
        name="fig2",
        title="Why many random subsets work: CKA of two random subsets; random neurons against principal components",
        blocks=(
            _by_model("fraction", _with(_BOTH, grid=grids.WIDE), measure="cka_pair"),
            _by_model(
                "fraction",
                (
                    *_BOTH,
                    *_with(_BOTH, grid=grids.PROJECTED, method="pca", n_seeds=1),
                    *_with(_BOTH, grid=grids.PROJECTED, method="pca_least", n_seeds=1),
                ),
            ),
        ),
        notes=(_CKA_NOTE, "On Flowers the paper's principal components stop at 1,020, the number of training images."),
    ),
    Recipe(
        name="fig3",
        title="Random neurons against random projections of the layer",
        blocks=(_by_model("fraction", (*_BOTH, *_with(_BOTH, grid=grids.PROJECTED, method="random_projection"))),),
        notes=("The paper's projections are uniform and positive; its text says Gaussian. Either is drawn, by name.",),
    ),
    Recipe(
        name="fig4",
        title="Accuracy across architectures, standard and adversarially trained, all from ImageNet-1k",
        blocks=_by_dataset("fraction", _ARCHITECTURES),
    ),
    Recipe(
        name="fig5",
        title="Accuracy by upstream data: ViTs from ImageNet-1k and from ImageNet-21k",
        blocks=_by_dataset("fraction", _UPSTREAM),
    ),
    Recipe(
        name="fig6",
        title="Diffused redundancy as a function of the layer's width (ff-x)",
        blocks=_by_dataset(
            "fraction",
            (
                _STANDARD,
                *(Entry(model=f"resnet50-ff{width}", grid=grids.FIXED[width]) for width in reversed(WIDTHS)),
            ),
        ),
    ),
    Recipe(
        name="fig7",
        title="ResNet50 by loss: standard, adversarial, Matryoshka (random neurons, and the first ones)",
        blocks=_by_dataset("fraction", _LOSSES),
    ),
    Recipe(
        name="fig8",
        title="Inequality of class accuracies as neurons are dropped: Gini index",
        blocks=_by_dataset("gini", (_STANDARD, _ROBUST, _MRL_FIRST)),
    ),
    Recipe(
        name="fig9",
        title="ResNet50 by loss: CKA of a part with the whole layer",
        blocks=_by_dataset("fraction", _with(_LOSSES, grid=grids.DOUBLING), measure="cka"),
        notes=(_CKA_NOTE,),
    ),
    Recipe(
        name="fig10",
        title="Inequality of class accuracies as neurons are dropped: coefficient of variation",
        blocks=_by_dataset("cv", (_STANDARD, _ROBUST, _MRL_FIRST)),
    ),
    *(
        Recipe(
            name=name,
            title=f"Accuracy of every class as neurons are dropped: {what}",
            blocks=(Block(form="heatmap", entries=entries, datasets=FOUR, panel="cell"),),
            notes=(_WHICH_PANELS,),
        )
        for name, what, entries in (
            ("fig11", "ResNet50", (_STANDARD,)),
            ("fig12", "adversarially trained ResNet50", (_ROBUST,)),
            ("fig13", "Matryoshka ResNet50", (_MRL_FIRST, _MRL_RANDOM)),
        )
    ),
    Recipe(
        name="fig14",
        title="ResNet50 by threat model: standard, l2 and l-infinity adversarial training; accuracy and DR",
        blocks=(
            *_by_dataset("fraction", (*_BOTH, Entry(model="resnet50-linf", grid=grids.WIDE))),
            *_by_dataset("delta", (*_BOTH, Entry(model="resnet50-linf", grid=grids.WIDE)), deltas=HIGH_DELTAS),
        ),
    ),
    Recipe(
        name="fig15",
        title="DR across architectures (the runs of Figure 4)",
        blocks=_by_dataset("delta", _ARCHITECTURES, deltas=HIGH_DELTAS),
    ),
    Recipe(
        name="fig16",
        title="DR by upstream data (the runs of Figure 5)",
        blocks=_by_dataset("delta", _UPSTREAM, deltas=HIGH_DELTAS),
    ),
    Recipe(
        name="fig17",
        title="DR of a ResNet50 by loss (the runs of Figure 7)",
        blocks=_by_dataset("delta", _LOSSES, deltas=HIGH_DELTAS),
    ),
    Recipe(
        name="fig18",
        title="Accuracy across architectures against the number of neurons (the runs of Figure 4)",
        blocks=_by_dataset("neurons", _ARCHITECTURES),
    ),
    Recipe(
        name="fig19",
        title="Middle layers of a ResNet50",
        blocks=(
            Block(
                form="fraction",
                entries=(Entry(model="resnet50", grid=grids.LAYERS, n_seeds=2),),
                datasets=FOUR,
                panel="layer",
                layers=_MIDDLE_LAYERS,
            ),
        ),
        notes=("The paper's middle layers are flattened, not pooled: 100,352 to 802,816 neurons.",),
    ),
    Recipe(
        name="fig20",
        title="Harder tasks: ImageNet, ImageNetV2 and Places365",
        blocks=(
            Block(
                form="fraction",
                entries=_with(_BOTH, grid=grids.IMAGENET),
                datasets=("imagenet", "imagenetv2"),
                panel="model",
            ),
            Block(form="fraction", entries=_with(_BOTH, n_seeds=1), datasets=("places365",), panel="model"),
        ),
        notes=("Probes of ImageNet scored on ImageNetV2; the paper's point of the whole layer is the original head.",),
    ),
    Recipe(
        name="fig21",
        title="Dropout and DeCov: accuracy",
        blocks=(_by_model("fraction", _REGULARISED),),
    ),
    Recipe(
        name="fig22",
        title="Dropout and DeCov: DR (the runs of Figure 21)",
        blocks=(_by_model("delta", _REGULARISED, deltas=PAPER_DELTAS),),
    ),
    Recipe(
        name="table1",
        title="DR at delta = 0.9 of six networks on four data sets",
        blocks=_by_dataset(
            "table",
            (
                Entry(model="vit_s16-1k", grid=grids.MIDDLE),
                Entry(model="vit_s32-1k", grid=grids.MIDDLE),
                Entry(model="resnet18", grid=grids.NARROW),
                _STANDARD,
                Entry(model="wrn50_2", grid=grids.WIDE),
                Entry(model="vgg16_bn", grid=grids.MIDDLE),
            ),
        ),
    ),
)
RECIPES: Final[Mapping[str, Recipe]] = MappingProxyType({recipe.name: recipe for recipe in _RECIPES})
"""Every figure and table of the paper by name."""
FIGURES: Final = tuple(name for name in RECIPES if name.startswith("fig"))
"""Names of the figures, in the paper's order."""
