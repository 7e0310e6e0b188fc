"""The study file: short forms, defaults, relative paths, and what each rule says to who breaks it."""

from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from drfarm import InvalidRequest, InvalidStudy, load_study
from drfarm.study_inputs import SplitsEntry
from extract import DatasetSpec, LayerSpec, ModelSpec
from probe import PAPER_FRACTIONS, Validation, sgd_protocol

SMALLEST = """\
study: s
models: [timm:test_resnet]
datasets: [{name: digits, source: sklearn:digits}]
subsets: {fractions: [0.5, 1.0]}
"""


@pytest.fixture
def load(tmp_path):
    """Load the smallest study with some of its top keys changed."""

    def load_changed(**changes):
        file = tmp_path / "study.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(SMALLEST) | changes))
        return load_study(file)

    return load_changed


def test_defaults(load, tmp_path):
    study = load()
    assert study.store == str(tmp_path / "store")
    assert study.layer_specs() == (LayerSpec(layer="penultimate", pool=None),)
    assert (study.subsets.methods, study.subsets.seeds) == (("random",), (1, 2, 3, 4, 5))
    assert [(m.measure, m.settings()) for m in study.accuracies] == [("accuracy", sgd_protocol("paper"))]
    assert study.ckas == ()
    assert (study.dtype, study.codec, study.on_corrupt, study.deltas) == ("float32", "lz4", "stop", (0.9,))
    options = study.extract_options()
    assert (options.dtype, options.codec, options.on_corrupt, options.device) == ("float32", "lz4", "stop", "auto")


def test_short_forms(load):
    short = load(
        models=["timm:test_resnet.r160_in1k", "torchvision:resnet18", "python:nets:small"],
        layers=["layer1", {"layer": "blocks.*", "pool": "cls"}],
        subsets={"n_neurons": [4], "seeds": 2},
    )
    long = load(
        models=[
            {"name": "test_resnet.r160_in1k", "source": "timm:test_resnet.r160_in1k", "weights": "hub"},
            {"name": "resnet18", "source": "torchvision:resnet18", "weights": "hub"},
            {"name": "nets-small", "source": "python:nets:small", "weights": "hub"},
        ],
        layers=[{"layer": "layer1", "pool": None}, {"layer": "blocks.*", "pool": "cls"}],
        subsets={"methods": ["random"], "n_neurons": [4], "seeds": [1, 2]},
    )
    assert short == long


def test_everything_reaches_the_extraction(load, tmp_path):
    study = load(
        models=[
            {
                "name": "net",
                "source": "timm:test_resnet",
                "args": {"num_classes": 7},
                "weights": "w.safetensors",
                "input_size": 32,
                "mean": [0.5, 0.5, 0.5],
                "std": [0.25, 0.25, 0.25],
                "tags": {"upstream": "imagenet1k"},
            }
        ],
        datasets=[
            {
                "name": "d",
                "source": "npz:d.npz",
                "splits": {"train": "a", "test": "b", "val": "c"},
                "classes": [5, 6, 7],
            }
        ],
        dtype="float16",
        codec="zstd",
        on_corrupt="mask",
    )
    assert study.model_specs() == (
        ModelSpec(
            name="net",
            source="timm:test_resnet",
            arguments={"num_classes": 7},
            weights=str(tmp_path / "w.safetensors"),
            input_size=32,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
        ),
    )
    assert study.dataset_specs() == (
        DatasetSpec(
            name="d",
            source=f"npz:{tmp_path / 'd.npz'}",
            splits={"train": "a", "test": "b", "val": "c"},
            classes=("5", "6", "7"),
        ),
    )
    options = study.extract_options(batch_size=3, device="cpu")
    assert (options.batch_size, options.device, options.dtype) == (3, "cpu", "float16")
    assert (options.codec, options.on_corrupt) == ("zstd", "mask")
    assert study.models[0].tags == {"upstream": "imagenet1k"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("./store", "{base}/store"),
        ("../elsewhere", "{parent}/elsewhere"),
        ("/somewhere/else", "/somewhere/else"),
        ("~/stores/a", "{home}/stores/a"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_paths_are_relative_to_the_file(load, tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir("/")
    expected = expected.format(base=tmp_path, parent=tmp_path.parent, home=Path.home())
    study = load(
        store=given,
        models=[{"name": "a", "source": "timm:test_resnet", "weights": given}],
        datasets=[{"name": "f", "source": f"folder:{given}"}, {"name": "n", "source": f"npz:{given}"}],
    )
    assert study.store == expected
    assert study.models[0].weights == expected
    assert [d.source for d in study.datasets] == [f"folder:{expected}", f"npz:{expected}"]


@pytest.mark.parametrize("weights", ["hub", "random:3"])
def test_weights_that_are_no_path_stay(load, weights):
    assert load(models=[{"name": "a", "source": "timm:test_resnet", "weights": weights}]).models[0].weights == weights
    assert load().datasets[0].source == "sklearn:digits"


def test_the_same_study_from_anywhere(load, tmp_path, monkeypatch):
    load()
    absolute = load_study(tmp_path / "study.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_study("study.yaml") == absolute
    monkeypatch.chdir(tmp_path.parent)
    assert load_study(Path(tmp_path.name) / "study.yaml") == absolute


def test_a_study_can_not_be_changed(load):
    with pytest.raises(ValidationError, match="frozen"):
        load().study = "other"


@pytest.mark.parametrize(
    ("subsets", "width", "sizes"),
    [
        ({"fractions": [0.5, 1.0]}, 96, (48, 96)),
        ({"fractions": [0.3]}, 10, (3, 10)),  # the whole layer is always there
        ({"fractions": [0.01, 0.1, 1.0]}, 64, (6, 64)),  # a hundredth of 64 is no neuron
        ({"fractions": [0.29]}, 100, (28, 100)),  # int(f d), as the authors' code: 0.29 x 100 is 28.999...
        ({"n_neurons": [7, 3]}, 10, (3, 7, 10)),
        ({"n_neurons": [10]}, 10, (10,)),
    ],
)
def test_sizes(load, subsets, width, sizes):
    assert load(subsets=subsets).subsets.sizes(width) == sizes


def test_the_grid_of_the_paper(load):
    sizes = load(subsets={"grid": "paper"}).subsets.sizes(2048)
    assert len(PAPER_FRACTIONS) == 22
    assert sizes == tuple(sorted({int(f * 2048) for f in PAPER_FRACTIONS}))
    assert (sizes[0], sizes[-1]) == (1, 2048)


def test_a_size_above_the_width(load):
    with pytest.raises(InvalidRequest, match="n_neurons 97 is more than the 96 neurons of the layer"):
        load(subsets={"n_neurons": [1, 97]}).subsets.sizes(96)


@pytest.mark.parametrize(
    ("measures", "roles"),
    [
        ([{"measure": "accuracy"}], {"train": "a", "test": "b", "val": "c"}),
        ([{"measure": "cka"}, {"measure": "cka_pair", "k": "every"}], {"test": "b"}),
        ([{"measure": "cka"}, {"measure": "accuracy"}], {"train": "a", "test": "b", "val": "c"}),
    ],
)
def test_only_splits_that_are_needed(load, measures, roles):
    data = {"name": "d", "source": "folder:d", "splits": {"train": "a", "test": "b", "val": "c"}}
    (spec,) = load(measures=measures, datasets=[data]).dataset_specs()
    assert spec.splits == roles


def test_validation(load):
    def of(**splits):
        study = load(datasets=[{"name": "d", "source": "folder:d", "splits": splits}])
        return study.validation(study.datasets[0], "id" if "val" in splits else None, clean)

    clean = None
    assert of() is None
    assert of(val="c") == Validation(split_id="id")
    assert of(val_fraction=0.1, val_seed=3) == Validation(fraction=0.1, seed=3)
    clean = "shown-anew"
    assert of(val="c") == Validation(split_id="id")
    assert of(val_fraction=0.1) == Validation(fraction=0.1, clean_id="shown-anew")


def test_a_data_set_of_the_zoo_has_the_paper_s_splits(load):
    def of(name, **splits):
        entry = {"name": "d", "source": f"zoo:{name}"} | ({"splits": splits} if splits else {})
        return load(datasets=[entry]).datasets[0].splits

    assert of("cifar10") == SplitsEntry(train="train", test="test", val_fraction=0.1, val_seed=0)
    assert of("flowers102") == SplitsEntry(train="train", test="test", val="val")
    assert of("oxford-iiit-pets").train == "trainval"
    assert of("cifar10", val="test") == SplitsEntry(train="train", test="test", val="test")
    assert of("flowers102", val_fraction=0.2) == SplitsEntry(train="train", test="test", val_fraction=0.2)
    with pytest.raises(InvalidStudy, match="Did you mean 'cifar10'"):
        of("cifar1")


def test_folders_of_weights_and_data_are_found_from_anywhere(load, tmp_path):
    study = load(weights_folder="w", data_folder="d", datasets=[{"name": "a", "source": "zoo:cifar10", "root": "r"}])
    assert study.model_specs()[0].weights_folder == str(tmp_path / "w")
    assert study.dataset_specs()[0].root == str(tmp_path / "r")
    other = load(data_folder="d", datasets=[{"name": "a", "source": "webdataset:shards"}])
    assert other.dataset_specs()[0].root == str(tmp_path / "d")
    assert other.datasets[0].source == f"webdataset:{tmp_path / 'shards'}"


MODEL = {"name": "a", "source": "timm:test_resnet"}
DATA = {"name": "d", "source": "folder:d"}

RULES = {
    "top key": (
        {"dataset": []},
        "dataset: there is no such key. Did you mean 'datasets'? Keys here: codec, compile,",
    ),
    "nested key": (
        {"datasets": [DATA | {"split": {}}]},
        "datasets.0.split: there is no such key. Did you mean 'splits'? Keys here: classes, name, root, source, ",
    ),
    "deep key": (
        {"datasets": [DATA | {"splits": {"trian": "x"}}]},
        "datasets.0.splits.trian: there is no such key. Did you mean 'train'?",
    ),
    "key of a measure": (
        {"measures": [{"measure": "accuracy", "solvr": "sgd"}]},
        "measures.0.solvr: there is no such key. Did you mean 'solver'?",
    ),
    "no key is near": ({"zzz": 1}, "zzz: there is no such key. Keys here:"),
    "needed key": ({"models": [{"name": "a"}]}, "models.0.source: this key is needed and is not given."),
    "measure": ({"measures": [{}]}, "measures.0: the key measure is needed: accuracy, cka or cka_pair."),
    "unknown measure": (
        {"measures": [{"measure": "cca"}]},
        "measures.0.measure: got 'cca'; allowed: accuracy, cka, cka_pair. Did you mean 'cka'?",
    ),
    "solver": ({"measures": [{"measure": "accuracy", "solver": "sdg"}]}, "Did you mean 'sgd'?"),
    "protocol": (
        {"measures": [{"measure": "accuracy", "protocol": "papr"}]},
        "measures.0.protocol: there is no protocol of solver sgd 'papr'. Did you mean 'paper'?",
    ),
    "protocol of ridge": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "protocol": "defualt"}]},
        "measures.0.protocol: there is no protocol of solver ridge 'defualt'. Did you mean 'default'?",
    ),
    "protocol of logistic": (
        {"measures": [{"measure": "accuracy", "solver": "logistic", "protocol": "validate"}]},
        "measures.0.protocol: there is no protocol of solver logistic 'validate'. Did you mean 'validated'?",
    ),
    "protocol of another solver": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "protocol": "paper"}]},
        "measures.0.protocol: there is no protocol of solver ridge 'paper'.",
    ),
    "a released protocol": (
        {"measures": [{"measure": "accuracy", "protocol": "as-released:resnet5"}]},
        "Did you mean 'as-released:resnet50'?",
    ),
    "every size by sgd": (
        {"measures": [{"measure": "accuracy", "k": "every"}]},
        "measures.0: k: every needs solver ridge (one factorisation serves every size), got sgd.",
    ),
    "step sizes of ridge": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "learning_rates": [0.1]}]},
        "measures.0: learning_rates are those of solver sgd, got solver ridge; did you mean penalties?",
    ),
    "penalties of sgd": (
        {"measures": [{"measure": "accuracy", "penalties": [0.1]}]},
        "measures.0: penalties are those of ridge and logistic; sgd has its weight decay in its protocol.",
    ),
    "protocol and penalties": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "protocol": "default", "penalties": 1}]},
        "measures.0: protocol and penalties exclude each other: a protocol names its penalties.",
    ),
    "no penalty": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "penalties": []}]},
        "measures.0.penalties: at least 1 is needed, got 0.",
    ),
    "no step size": (
        {"measures": [{"measure": "accuracy", "learning_rates": []}]},
        "measures.0.learning_rates: at least 1 is needed, got 0.",
    ),
    "a penalty of zero": (
        {"measures": [{"measure": "accuracy", "solver": "logistic", "penalties": 0}]},
        "measures.0.penalties.0: got 0; input should be greater than 0.",
    ),
    "an infinite penalty": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "penalties": float("inf")}]},
        "measures.0.penalties.0: got inf; input should be a finite number.",
    ),
    "a penalty twice": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "penalties": [1, 1.0]}]},
        "measures.0: protocol relative:1,1: strengths holds one twice: (1.0, 1.0).",
    ),
    "a step size twice": (
        {"measures": [{"measure": "accuracy", "learning_rates": [0.1, 0.1]}]},
        "learning_rates holds one twice: (0.1, 0.1).",
    ),
    "penalties without validation": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "penalties": [0.1, 1]}]},
        "dataset 'digits' no validation rows: give its splits `val` or `val_fraction`, or one value.",
    ),
    "a validated protocol without validation": (
        {"measures": [{"measure": "accuracy", "solver": "logistic", "protocol": "validated"}]},
        "measures: logistic has 5 penalties to choose from, and dataset 'digits' no validation rows",
    ),
    "step sizes without validation": (
        {"measures": [{"measure": "accuracy", "learning_rates": [0.1, 0.01]}]},
        "measures: sgd has 2 step sizes to choose from, and dataset 'digits' no validation rows",
    ),
    "normalisation of ridge": (
        {"measures": [{"measure": "accuracy", "solver": "ridge", "normalisation": "standardised"}]},
        "measures.0: normalisation and precision are options of solver sgd, got solver ridge.",
    ),
    "normalisation": (
        {"measures": [{"measure": "accuracy", "normalisation": "standardized"}]},
        "measures.0.normalisation: got 'standardized'; allowed: none, standardised. Did you mean 'standardised'?",
    ),
    "precision": (
        {"measures": [{"measure": "accuracy", "precision": "fp16"}]},
        "measures.0.precision: got 'fp16'; allowed: float32, tf32, bf16.",
    ),
    "average": (
        {"measures": [{"measure": "accuracy", "average": "classes"}]},
        "measures.0.average: got 'classes'; allowed: sample, class. Did you mean 'class'?",
    ),
    "a control that would choose": (
        {"measures": [{"measure": "accuracy", "learning_rates": [0.1, 0.01], "control": "random-labels"}]},
        "measures.0: a control has no rows to choose on, and sgd has 2 values to choose from here: give one.",
    ),
    "control": (
        {"measures": [{"measure": "accuracy", "control": "random"}]},
        "measures.0.control: got 'random'; allowed: random-labels.",
    ),
    "estimator": (
        {"measures": [{"measure": "cka", "estimator": "unbiased"}]},
        "measures.0.estimator: got 'unbiased'; allowed: biased, debiased, minibatch. Did you mean 'biased'?",
    ),
    "every size of an estimator": (
        {"measures": [{"measure": "cka", "estimator": "debiased", "k": "every"}]},
        "measures.0: k: every is for the biased estimator; debiased is measured at the study's sizes.",
    ),
    "a method of a measure": (
        {"measures": [{"measure": "cka", "methods": ["first"]}]},
        "measures: method 'first' is not among subsets.methods (random).",
    ),
    "an unknown method of a measure": (
        {"measures": [{"measure": "cka", "methods": ["firts"]}]},
        "measures.0.methods.0: there is no method 'firts'. Did you mean 'first'?",
    ),
    "no method of a measure": (
        {"measures": [{"measure": "cka", "methods": []}]},
        "measures.0.methods: at least 1 is needed, got 0.",
    ),
    "a method of a measure twice": (
        {"measures": [{"measure": "cka", "methods": ["random", "random"]}]},
        "measures.0.methods: each method once, got random, random.",
    ),
    "every size of draws that do not nest": (
        {
            "measures": [{"measure": "cka", "k": "every"}],
            "subsets": {"grid": "paper", "methods": ["random_independent"]},
        },
        "measures: k: every needs nested subsets, and 'random_independent' draws each size anew: list its sizes, or",
    ),
    "sizes of cka": ({"measures": [{"measure": "cka", "k": "all"}]}, "measures.0.k: got 'all'; allowed: every."),
    "no measure": ({"measures": []}, "measures: at least 1 is needed, got 0."),
    "no model": ({"models": []}, "models: at least 1 is needed, got 0."),
    "no data set": ({"datasets": []}, "datasets: at least 1 is needed, got 0."),
    "a number for a model": ({"models": [3]}, "models.0: got 3; expected keys: args, input_size,"),
    "pool": (
        {"layers": [{"layer": "l", "pool": "mean"}]},
        "layers.0.pool: got 'mean'; allowed: avg, max, cls, flatten.",
    ),
    "transform": ({"transform": {"train": "best"}}, "transform.train: got 'best'; allowed: "),
    "dtype": ({"dtype": "float8"}, "dtype: got 'float8'; allowed: float32, float16. Did you mean 'float32'?"),
    "codec": ({"codec": "lz5"}, "codec: got 'lz5'; allowed: lz4, zstd, none. Did you mean 'lz4'?"),
    "on_corrupt": ({"on_corrupt": "skip"}, "on_corrupt: got 'skip'; allowed: stop, mask."),
    "no threshold above one": ({"deltas": [1.01]}, "deltas.0: got 1.01; input should be less than or equal to 1."),
    "no threshold of zero": ({"deltas": [0]}, "deltas.0: got 0; input should be greater than 0."),
    "method": ({"subsets": {"grid": "paper", "methods": ["firts"]}}, "Did you mean 'first'?"),
    "variant": (
        {"subsets": {"grid": "paper", "methods": ["pca:uncentered"]}},
        "subsets.methods.0: there is no variant of pca 'uncentered'. Did you mean 'uncentred'?",
    ),
    "variants that clash": (
        {"subsets": {"grid": "paper", "methods": ["pca:centred+uncentred"]}},
        "subsets.methods.0: method 'pca:centred+uncentred' asks for centred and uncentred at once: choose one.",
    ),
    "variant of none": ({"subsets": {"grid": "paper", "methods": ["first:last"]}}, "method 'first' takes no variant"),
    "one method under two labels": (
        {"subsets": {"grid": "paper", "methods": ["pca", "pca:centred"]}},
        "subsets: methods holds each value once and at least one, got ['pca', 'pca'].",
    ),
    "refine to nothing": (
        {"subsets": {"grid": "paper", "refine": {"to": 0}}},
        "subsets.refine.to: got 0; input should be greater than 0.",
    ),
    "refine to all": (
        {"subsets": {"grid": "paper", "refine": {"to": 1}}},
        "subsets.refine.to: got 1; input should be less than 1.",
    ),
    "refine at a threshold": (
        {"subsets": {"grid": "paper", "refine": {"delta": 1.5}}},
        "subsets.refine.delta: got 1.5; input should be less than or equal to 1.",
    ),
    "refine key": (
        {"subsets": {"grid": "paper", "refine": {"until": 0.1}}},
        "subsets.refine.until: there is no such key. Keys here: delta, to.",
    ),
    "refine without a curve": (
        {"subsets": {"grid": "paper", "refine": {}}, "measures": [{"measure": "cka"}]},
        "subsets.refine adds sizes to the curves of accuracy, and no measure has such a curve: leave it out (cka and",
    ),
    "missing components": (
        {"subsets": {"grid": "paper", "on_missing_components": "stop"}},
        "subsets.on_missing_components: got 'stop'; allowed: error, censor.",
    ),
    "grid": ({"subsets": {"grid": "papers"}}, "subsets.grid: got 'papers'; allowed: paper. Did you mean 'paper'?"),
    "fraction of zero": ({"subsets": {"fractions": [0.0]}}, "subsets.fractions: a fraction lies in (0, 1], got 0.0."),
    "fraction above one": ({"subsets": {"fractions": [1.1]}}, "subsets.fractions: a fraction lies in (0, 1], got 1.1."),
    "no neuron": ({"subsets": {"n_neurons": [0]}}, "subsets.n_neurons: a subset has at least one neuron, got 0."),
    "no grid": ({"subsets": {}}, "subsets: give exactly one of fractions, n_neurons and grid, got none of them."),
    "two grids": (
        {"subsets": {"grid": "paper", "n_neurons": [1]}},
        "subsets: give exactly one of fractions, n_neurons and grid, got n_neurons, grid.",
    ),
    "a size twice": (
        {"subsets": {"n_neurons": [4, 4]}},
        "subsets: n_neurons holds each value once and at least one, got [4, 4].",
    ),
    "no size": ({"subsets": {"fractions": []}}, "subsets: fractions holds each value once and at least one, got []."),
    "no seed": ({"subsets": {"grid": "paper", "seeds": 0}}, "subsets.seeds: at least one seed is needed, got 0."),
    "a seed twice": ({"subsets": {"grid": "paper", "seeds": [1, 1]}}, "seeds holds each value once and at least one"),
    "a seed of text": ({"subsets": {"grid": "paper", "seeds": ["x"]}}, "subsets.seeds.0: got 'x'; input should be"),
    "val twice": (
        {"datasets": [DATA | {"splits": {"val": "v", "val_fraction": 0.1}}]},
        "datasets.0.splits: val and val_fraction exclude each other: name a split or hold out a fraction.",
    ),
    "val_fraction": (
        {"datasets": [DATA | {"splits": {"val_fraction": 1}}]},
        "datasets.0.splits.val_fraction: got 1; input should be less than 1.",
    ),
    "study's name": ({"study": "a b"}, "study 'a b': a name has 1 to 120 letters, digits and . _ + @ -"),
    "model's name": ({"models": [MODEL | {"name": "../x"}]}, "model '../x': a name has"),
    "data set's name": ({"datasets": [DATA | {"name": ".hidden"}]}, "dataset '.hidden': a name has"),
    "a long name": ({"study": "x" * 121}, "a name has 1 to 120 letters"),
    "two models": ({"models": [MODEL, MODEL]}, "models: the name 'a' is given twice; names tell results apart."),
    "two data sets": ({"datasets": [DATA, DATA]}, "datasets: the name 'd' is given twice; names tell results apart."),
}


@pytest.mark.parametrize(("changes", "message"), RULES.values(), ids=RULES.keys())
def test_each_rule_says_what_is_wrong(load, tmp_path, changes, message):
    with pytest.raises(InvalidStudy, match=r"study.yaml: 1 fault in the study file\.\n  ") as raised:
        load(**changes)
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("measure", "name"),
    [
        ({}, "paper"),
        ({"protocol": "as-released:main"}, "as-released:main"),
        ({"solver": "ridge"}, "default"),
        ({"solver": "ridge", "penalties": 0.5}, "relative:0.5"),
        ({"solver": "ridge", "penalties": [1, 0.01]}, "relative:0.01,1"),
        ({"solver": "ridge", "protocol": "absolute:3"}, "absolute:3"),
        ({"solver": "logistic", "penalties": 1e-5}, "layer:1e-05"),
        ({"solver": "logistic", "protocol": "standardised:0.1"}, "standardised:0.1"),
        ({"learning_rates": 0.1}, "paper"),  # its own
        ({"learning_rates": 0.2}, "paper+lr-0.2"),
        ({"learning_rates": [0.1, 1]}, "paper+lr-0.1,1"),
        ({"learning_rates": [0.1234567, 0.01]}, "paper+lr-0.1234567,0.01"),
        ({"normalisation": "standardised", "precision": "bf16"}, "paper+standardised+bf16"),
    ],
)
def test_what_differs_from_a_protocol_is_told_in_its_name(load, measure, name):
    splits = {"val_fraction": 0.1}
    study = load(measures=[{"measure": "accuracy", **measure}], datasets=[DATA | {"splits": splits}])
    assert study.accuracies[0].settings().name == name


def test_labels_of_methods_are_canonical(load):
    study = load(subsets={"grid": "paper", "methods": ["pca:centred", "random_projection:as-released"]})
    assert study.subsets.methods == ("pca", "random_projection_uniform")


def test_refine_has_defaults(load):
    refine = load(subsets={"grid": "paper", "refine": {}}).subsets.refine
    assert (refine.delta, refine.to) == (None, 0.01)


def test_every_fault_is_named_at_once(load):
    with pytest.raises(InvalidStudy, match="3 faults") as raised:
        load(dtype="int8", deltas=[2], models=[{"name": "a"}])
    assert [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]] == [
        "models.0.source",
        "dtype",
        "deltas.0",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"is not YAML: line 1, column 6: expected ',' or '\]'"),
        ("a: 1\n\tb: 2\n", r"is not YAML: line 2, column 1: found character '\\t'"),
        ("", "expected keys such as study, models, datasets; got an empty file"),
        ("just text", "expected keys such as study, models, datasets; got a str"),
    ],
)
def test_a_file_that_is_no_study(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(InvalidStudy, match=message):
        load_study(tmp_path / "s.yaml")


def test_a_file_that_can_not_be_read(tmp_path):
    with pytest.raises(InvalidStudy, match=r"absent.yaml can't be read: No such file or directory\. Give the path"):
        load_study(tmp_path / "absent.yaml")
    (tmp_path / "latin.yaml").write_bytes("study: é".encode("latin-1"))
    with pytest.raises(InvalidStudy, match=r"latin.yaml can't be read: .*utf-8"):
        load_study(tmp_path / "latin.yaml")
