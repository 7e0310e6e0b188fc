"""Names of classes that their data sets' files don't hold."""


def digits(n: int) -> tuple[str, ...]:
    """Return n classes that are called by their number."""
    return tuple(str(i) for i in range(n))


def imagenet_wnids() -> tuple[str, ...]:
    """Return the 1,000 WordNet ids of ImageNet-1k, sorted: label i of ImageNet and of ImageNetV2 is the i-th."""
    from timm.data.imagenet_info import ImageNetInfo

    return tuple(ImageNetInfo("imagenet-1k").label_names())


# https://www.robots.ox.ac.uk/~vgg/data/flowers/102/categories.html, in the order of the labels in imagelabels.mat.
# Written down here: names enter a fingerprint, and torchvision has them only since one of its later versions.
FLOWERS: tuple[str, ...] = tuple(
    """
pink primrose; hard-leaved pocket orchid; canterbury bells; sweet pea; english marigold; tiger lily; moon orchid;
bird of paradise; monkshood; globe thistle; snapdragon; colt's foot; king protea; spear thistle; yellow iris;
globe-flower; purple coneflower; peruvian lily; balloon flower; giant white arum lily; fire lily; pincushion
flower; fritillary; red ginger; grape hyacinth; corn poppy; prince of wales feathers; stemless gentian; artichoke;
sweet william; carnation; garden phlox; love in the mist; mexican aster; alpine sea holly; ruby-lipped cattleya;
cape flower; great masterwort; siam tulip; lenten rose; barbeton daisy; daffodil; sword lily; poinsettia; bolero
deep blue; wallflower; marigold; buttercup; oxeye daisy; common dandelion; petunia; wild pansy; primula;
sunflower; pelargonium; bishop of llandaff; gaura; geranium; orange dahlia; pink-yellow dahlia?; cautleya spicata;
japanese anemone; black-eyed susan; silverbush; californian poppy; osteospermum; spring crocus; bearded iris;
windflower; tree poppy; gazania; azalea; water lily; rose; thorn apple; morning glory; passion flower; lotus; toad
lily; anthurium; frangipani; clematis; hibiscus; columbine; desert-rose; tree mallow; magnolia; cyclamen;
watercress; canna lily; hippeastrum; bee balm; ball moss; foxglove; bougainvillea; camellia; mallow; mexican
petunia; bromelia; blanket flower; trumpet creeper; blackberry lily
""".replace("\n", " ")
    .strip()
    .split("; ")
)
"""The 102 flowers."""
