"""Run frozen networks once over each data set, and keep their activations. Importing this imports no torch."""

from extract._device import choose_device
from extract._fingerprint import fingerprint
from extract._pass import Progress
from extract._random_transform import RandomTransform
from extract._weights import file_digest
from extract.datasets import Samples, open_samples
from extract.describe import ModelDescription, SplitDescription, describe_model, describe_split
from extract.errors import (
    CorruptSample,
    DecoderDied,
    ExtractError,
    InputChanged,
    InvalidDataset,
    InvalidLayer,
    InvalidModel,
    NonFiniteActivations,
    OutOfDeviceMemory,
    SampleUnreadable,
    UntrustedWeights,
    WeightsMismatch,
    WeightsUnreadable,
)
from extract.grouping import group_jobs
from extract.layers import ResolvedLayer, layer_widths, resolve_layers
from extract.models import LoadedModel, load_model, weights_path
from extract.plan import (
    ExtractionJob,
    KeptNeurons,
    PlannedLayer,
    SplitPass,
    combine_jobs,
    plan_extraction,
)
from extract.rates import Prediction, predict
from extract.report import ExtractionReport
from extract.run import run_extraction
from extract.shards import Shard, parse_shard
from extract.spec import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec, TransformSpec
from extract.transforms import (
    TestTransform,
    Transform,
    check_transform,
    is_random,
    make_transform,
    transform_version,
)
from extract.zoo import PAPER_NETWORKS, ZOO, ZooNetwork, find_weights, how_to_get, weights_folder, zoo_network
from extract.zoo_datasets import zoo_splits

__all__ = [
    "PAPER_NETWORKS",
    "ZOO",
    "CorruptSample",
    "DatasetSpec",
    "DecoderDied",
    "ExtractError",
    "ExtractOptions",
    "ExtractionJob",
    "ExtractionReport",
    "InputChanged",
    "InvalidDataset",
    "InvalidLayer",
    "InvalidModel",
    "KeptNeurons",
    "LayerSpec",
    "LoadedModel",
    "ModelDescription",
    "ModelSpec",
    "NonFiniteActivations",
    "OutOfDeviceMemory",
    "PlannedLayer",
    "Prediction",
    "Progress",
    "RandomTransform",
    "ResolvedLayer",
    "SampleUnreadable",
    "Samples",
    "Shard",
    "SplitDescription",
    "SplitPass",
    "TestTransform",
    "Transform",
    "TransformSpec",
    "UntrustedWeights",
    "WeightsMismatch",
    "WeightsUnreadable",
    "ZooNetwork",
    "check_transform",
    "choose_device",
    "combine_jobs",
    "describe_model",
    "describe_split",
    "file_digest",
    "find_weights",
    "fingerprint",
    "group_jobs",
    "how_to_get",
    "is_random",
    "layer_widths",
    "load_model",
    "make_transform",
    "open_samples",
    "parse_shard",
    "plan_extraction",
    "predict",
    "resolve_layers",
    "run_extraction",
    "transform_version",
    "weights_folder",
    "weights_path",
    "zoo_network",
    "zoo_splits",
]
