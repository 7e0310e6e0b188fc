"""What can go wrong while extracting, grouped by what the caller does next.

    store.DrfarmError
    ├── store.InvalidRequest            the request was wrong; nothing was started
    │   ├── InvalidModel                a network that can't be built, or whose normalisation nobody knows
    │   ├── WeightsUnreadable           weights that are missing, can't be fetched or can't be read
    │   │   └── UntrustedWeights        weights that hold Python objects, of a model that does not say trust: pickle
    │   ├── WeightsMismatch             weights that don't fit the architecture
    │   ├── InvalidLayer                a layer that can't be recorded
    │   ├── InvalidDataset              a data set that isn't laid out as its source says
    │   └── InputChanged                weights or images are not those that were planned
    └── ExtractError                    extraction stopped; finished chunks are kept and a rerun goes on from there
        ├── CorruptSample               an image that can't be decoded
        ├── SampleUnreadable            a file that the disk refuses (never masked: it is not the image's fault)
        ├── NonFiniteActivations        the network returned NaN or infinity
        ├── OutOfDeviceMemory           not even one image fits the device
        └── DecoderDied                 a decoding process was killed

Unknown names of models, layers, transforms and data set sources are `store.UnknownName`. All arguments are positional,
so that errors survive the trip between processes.
"""

from store.errors import DrfarmError, InvalidRequest


class InvalidModel(InvalidRequest):
    """A network that can't be built as asked, or whose normalisation nobody knows."""


class WeightsUnreadable(InvalidRequest):
    """Weights that are missing, can't be fetched or can't be read."""


class UntrustedWeights(WeightsUnreadable):
    """Weights that hold Python objects, of a model that does not say that these may be passed over."""


class WeightsMismatch(InvalidRequest):
    """Weights that don't fit the architecture."""


class InvalidLayer(InvalidRequest):
    """A layer that can't be recorded, or recorded as asked."""


class InvalidDataset(InvalidRequest):
    """A data set that isn't laid out as its source says."""


class InputChanged(InvalidRequest):
    """Weights or images are not those that the job was planned with."""


class ExtractError(DrfarmError):
    """Extraction stopped; finished chunks are kept."""


class CorruptSample(ExtractError):
    """An image that can't be decoded."""


class SampleUnreadable(ExtractError, OSError):
    """A file that the disk refuses to hand over."""


class NonFiniteActivations(ExtractError, ArithmeticError):
    """The network returned NaN or infinity."""


class OutOfDeviceMemory(ExtractError):
    """Not even one image fits the device."""


class DecoderDied(ExtractError):
    """A decoding process was killed."""
