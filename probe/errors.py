"""What can go wrong in a probe.

store.InvalidRequest
└── InvalidProbe        settings or subsets that can't be measured (k > d, an unknown method, one class)
store.DrfarmError
└── ProbeError          a batch could not be measured
    └── Mismatch        train and test representations do not belong together
"""

from store import DrfarmError, InvalidRequest


class InvalidProbe(InvalidRequest):
    """Settings or subsets that can't be measured."""


class ProbeError(DrfarmError):
    """A batch could not be measured."""


class Mismatch(ProbeError):
    """Train and test representations do not belong together."""
