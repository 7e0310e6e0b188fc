"""The catalogue: every network of the paper, with its source and its deviations. Data only.

Facts from the paper's appendix B, its released code and the pages that are named as sources.
"""

from extract._zoo_record import HALF, IMAGENET_MEAN, IMAGENET_STD, ZooNetwork

# https://arxiv.org/abs/2007.08489
_ROBUST = "https://huggingface.co/madrylab/robust-imagenet-models/resolve/main/"
_ROBUST_ORIGIN = "Salman et al. 2020, robust-models-transfer"
# https://arxiv.org/abs/2205.13147
_MRL = "https://drive.google.com/drive/folders/1IEfJk4xp-sPEKvKn6eKAUzvoRV8ho2vq"
_MRL_ORIGIN = "Kusupati et al. 2022, RAIVNLab/MRL"
# https://arxiv.org/abs/2106.10270
_AUGREG = "https://storage.googleapis.com/vit_models/augreg/"
_AUGREG_ORIGIN = "Steiner et al. 2021, AugReg"
_AUGREG_RECIPE = "300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0.npz"
_OWN_FOLDER = "opt_sgd_step_500.0_warmup_1000_gradclip_1.0"

_BCE = (
    "The paper's text says standard cross-entropy; its code ran these weights (recipe A1 of ResNet strikes back): "
    "binary cross-entropy, 600 epochs, mixup and cutmix."
)
_VGG = "The paper says VGG16; its code ran VGG16 with batch normalisation."
_VGG_ROBUST = (
    "The paper's code does not rename the classifier of this file for timm's architecture, which it needs; how the "
    "authors converted it is not known. Here its linear layers become the convolutions that timm has."
)
_LINF = "Only a footnote of the appendix shows it; without it the paper's 30 networks are 30, with it 31."
_WIDE = "Weights of the robust release with eps 0 (standard training), not timm's own of that name."
_VIT = (
    "The paper normalised with ImageNet's mean and std, as here; the network was trained with mean and std 0.5. Give "
    "mean: [0.5, 0.5, 0.5] and std: [0.5, 0.5, 0.5] in the study for its own."
)
_OWN = (
    "The authors trained it themselves, once, on 90 % of ImageNet-1k (50 epochs in their scripts); there is no control "
    "with the same recipe and no regulariser."
)
_EXTRA = "The paper's code ran it; the paper does not show it."


def _fixed_feature_note(width: int) -> str:
    return (
        f"The backbone pools 2048 features as always; the classifier, and here the penultimate layer, is the first "
        f"{width} of them. Trained for 40 epochs with label smoothing and BlurPool; the paper compares it with a "
        "ResNet50 of another recipe."
    )


def _resnet(name: str, architecture: str, width: int, **settings: object) -> ZooNetwork:
    wanted = {"name": name, "architecture": f"timm:{architecture}", "width": width, "upstream": "ImageNet-1k"}
    return ZooNetwork(**(wanted | settings))  # type: ignore[arg-type]


def _robust(
    name: str,
    architecture: str,
    width: int,
    file: str,
    loss: str,
    top1: float,
    *,
    by: str = "release",
    **settings: object,
) -> ZooNetwork:
    return _resnet(
        name,
        architecture,
        width,
        loss=loss,
        file=file,
        url=_ROBUST + file,
        origin=_ROBUST_ORIGIN,
        format="robustness",
        top1=top1,
        top1_by=by,
        **settings,
    )


def _vit(patch: int, upstream: str, top1: float | None) -> ZooNetwork:
    in1k = upstream == "i1k"
    file = f"S_{patch}-{upstream}-{_AUGREG_RECIPE}"
    return ZooNetwork(
        name=f"vit_small_patch{patch}_224-{'in1k' if in1k else 'in21k'}",
        architecture=f"timm:vit_small_patch{patch}_224",
        arguments={"num_classes": 1000 if in1k else 21843},
        width=384,
        upstream="ImageNet-1k" if in1k else "ImageNet-21k",
        loss="cross-entropy",
        file=file,
        url=_AUGREG + file,
        origin=_AUGREG_ORIGIN,
        format="augreg",
        top1=top1,
        top1_by="authors" if top1 else None,
        mean=IMAGENET_MEAN if in1k else HALF,
        std=IMAGENET_STD if in1k else HALF,
        trained_mean=HALF if in1k else None,
        trained_std=HALF if in1k else None,
        notes=(_VIT,) if in1k else (),
    )


def _fixed_feature(width: int) -> ZooNetwork:
    extra = width == 2048
    return ZooNetwork(
        name=f"resnet50-ff{width}",
        architecture="blurpool_resnet50",
        arguments={"features": width},
        width=width,
        upstream="ImageNet-1k",
        loss=f"cross-entropy on the first {width} features",
        file=f"r50_mrl0_e0_ff{width}.pt",
        url=_MRL,
        origin=_MRL_ORIGIN,
        format="state dict",
        top1=0.76522 if extra else None,
        top1_by="authors" if extra else None,
        notes=(_EXTRA,) if extra else (_fixed_feature_note(width),),
        in_paper=not extra,
    )


def _own(name: str, loss: str, folder: str, epoch: int, *notes: str) -> ZooNetwork:
    return _resnet(
        name,
        "resnet50",
        2048,
        loss=loss,
        file=f"{name}.ckpt",
        aliases=(f"{folder}/epoch={epoch}-topk=1.ckpt",),
        url=None,
        origin=f"the paper's authors; not published (their cluster: {folder}/epoch={epoch}-topk=1.ckpt)",
        format="lightning",
        notes=(_OWN, *notes),
    )


def _dropout(tenths: int) -> ZooNetwork:
    rate = f"0.{tenths}"
    epoch = {1: 84, 5: 79}.get(tenths, 48)
    return _own(
        f"resnet50-dropout{rate}",
        f"cross-entropy, dropout {rate} on pooled features",
        f"resnet50drop_rate_{rate}_bs_256_seed_420_lr_0.01_{_OWN_FOLDER}",
        epoch,
        f"The authors' file is of epoch {epoch}; those of the other dropout rates are of epoch 48, 79 or 84: training "
        "lengths differ.",
    )


NETWORKS: tuple[ZooNetwork, ...] = (
    _resnet(
        "resnet18",
        "resnet18",
        512,
        loss="cross-entropy",
        file="resnet18-5c106cde.pth",
        url="https://download.pytorch.org/models/resnet18-5c106cde.pth",
        origin="torchvision, the weights that timm 0.6 took",
        sha256="5c106cde",
        format="state dict",
        top1=0.69234,
        top1_by="authors",
    ),
    _robust(
        "resnet18-l2-eps3",
        "resnet18",
        512,
        "resnet18_l2_eps3.ckpt",
        "adversarial cross-entropy, l2 eps 3",
        0.5312,
        aliases=("resnet-18-l2-eps3.ckpt",),
    ),
    _resnet(
        "resnet50",
        "resnet50",
        2048,
        loss="binary cross-entropy (A1)",
        file="resnet50_a1_0-14fe96d1.pth",
        url="https://github.com/huggingface/pytorch-image-models/releases/download/v0.1-rsb-weights/"
        "resnet50_a1_0-14fe96d1.pth",
        origin="Wightman et al. 2021, timm",
        sha256="14fe96d1",
        format="state dict",
        top1=0.80068,
        top1_by="authors",
        notes=(_BCE,),
    ),
    _robust(
        "resnet50-l2-eps3",
        "resnet50",
        2048,
        "resnet50_l2_eps3.ckpt",
        "adversarial cross-entropy, l2 eps 3",
        0.6283,
        aliases=("resnet-50-l2-eps3.ckpt",),
    ),
    _robust(
        "resnet50-linf-eps4",
        "resnet50",
        2048,
        "resnet50_linf_eps4.0.ckpt",
        "adversarial cross-entropy, linf eps 4/255",
        0.6386,
        aliases=("linf/eps4/r50.ckpt",),
        notes=(_LINF,),
    ),
    _robust(
        "wide_resnet50_2",
        "wide_resnet50_2",
        2048,
        "wide_resnet50_2_l2_eps0.ckpt",
        "cross-entropy",
        0.76992,
        by="authors",
        aliases=("wideresnet-50-2-nonrob.ckpt",),
        notes=(_WIDE,),
    ),
    _robust(
        "wide_resnet50_2-l2-eps3",
        "wide_resnet50_2",
        2048,
        "wide_resnet50_2_l2_eps3.ckpt",
        "adversarial cross-entropy, l2 eps 3",
        0.6690,
    ),
    _resnet(
        "vgg16_bn",
        "vgg16_bn",
        4096,
        loss="cross-entropy",
        file="vgg16_bn-6c64b313.pth",
        url="https://download.pytorch.org/models/vgg16_bn-6c64b313.pth",
        origin="torchvision",
        sha256="6c64b313",
        format="state dict",
        top1=0.73362,
        top1_by="authors",
        notes=(_VGG,),
    ),
    _robust(
        "vgg16_bn-l2-eps3",
        "vgg16_bn",
        4096,
        "vgg16_bn_l2_eps3.ckpt",
        "adversarial cross-entropy, l2 eps 3",
        0.5719,
        notes=(_VGG, _VGG_ROBUST),
    ),
    _vit(16, "i1k", 0.6482),
    _vit(32, "i1k", 0.5573),
    _vit(16, "i21k", None),
    _vit(32, "i21k", None),
    ZooNetwork(
        name="resnet50-mrl",
        architecture="blurpool_resnet50",
        arguments={"nested": True},
        width=2048,
        upstream="ImageNet-1k",
        loss="Matryoshka: cross-entropy of nine nested heads",
        file="r50_mrl1_e0_ff2048.pt",
        url=_MRL,
        origin=_MRL_ORIGIN,
        format="state dict",
    ),
    *map(_fixed_feature, (8, 16, 32, 64, 128, 256, 512, 1024)),
    *map(_dropout, range(1, 9)),
    _own(
        "resnet50-decov0.0001",
        "cross-entropy + 0.0001 DeCov",
        f"resnet50_bs_256_seed_420_lr_0.01_{_OWN_FOLDER}_decov_0.0001",
        48,
    ),
    _fixed_feature(2048),
    _robust(
        "wide_resnet50_4",
        "wide_resnet50_2",
        2048,
        "wide_resnet50_4_l2_eps0.ckpt",
        "cross-entropy",
        0.77706,
        by="authors",
        arguments={"base_width": 256},
        notes=(_EXTRA,),
        in_paper=False,
    ),
    _robust(
        "wide_resnet50_4-l2-eps3",
        "wide_resnet50_2",
        2048,
        "wide_resnet50_4_l2_eps3.ckpt",
        "adversarial cross-entropy, l2 eps 3",
        0.6967,
        arguments={"base_width": 256},
        notes=(_EXTRA,),
        in_paper=False,
    ),
)
"""Those of the paper in the order of its tables, then the others that its code ran."""
