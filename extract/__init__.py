"""Run frozen networks once over each data set, and keep their activations. Importing this imports no torch."""

from extract._device import choose_device
from extract._fingerprint import fingerprint
from extract._weights import file_digest
from extract.datasets import Samples, open_samples
from extract.errors import (
    CorruptSample,
    ExtractError,
    InputChanged,
    InvalidDataset,
    InvalidLayer,
    InvalidModel,
    NonFiniteActivations,
    OutOfDeviceMemory,
    SampleUnreadable,
    WeightsMismatch,
    WeightsUnreadable,
)
from extract.layers import ResolvedLayer, layer_widths, resolve_layers
from extract.models import LoadedModel, load_model
from extract.plan import (
    ExtractionJob,
    ModelDescription,
    PlannedLayer,
    SplitDescription,
    combine_jobs,
    describe_model,
    describe_split,
    plan_extraction,
)
from extract.report import ExtractionReport
from extract.run import Progress, run_extraction
from extract.spec import DatasetSpec, ExtractOptions, LayerSpec, ModelSpec
from extract.transforms import TestTransform, make_transform, transform_version

__all__ = [
    "CorruptSample",
    "DatasetSpec",
    "ExtractError",
    "ExtractOptions",
    "ExtractionJob",
    "ExtractionReport",
    "InputChanged",
    "InvalidDataset",
    "InvalidLayer",
    "InvalidModel",
    "LayerSpec",
    "LoadedModel",
    "ModelDescription",
    "ModelSpec",
    "NonFiniteActivations",
    "OutOfDeviceMemory",
    "PlannedLayer",
    "Progress",
    "ResolvedLayer",
    "SampleUnreadable",
    "Samples",
    "SplitDescription",
    "TestTransform",
    "WeightsMismatch",
    "WeightsUnreadable",
    "choose_device",
    "combine_jobs",
    "describe_model",
    "describe_split",
    "file_digest",
    "fingerprint",
    "layer_widths",
    "load_model",
    "make_transform",
    "open_samples",
    "plan_extraction",
    "resolve_layers",
    "run_extraction",
    "transform_version",
]
