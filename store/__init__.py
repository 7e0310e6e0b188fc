"""Where everything is kept: features, their ledger, and results. Imports none of our other packages."""

from store._catalogue import RepresentationInfo
from store._feature_reader import Features
from store._feature_writer import FeatureWriter
from store.errors import (
    Conflict,
    Corrupt,
    DrfarmError,
    Incomplete,
    InvalidRequest,
    NotFound,
    Overflow,
    StorageFailure,
    StoreError,
    UnknownName,
    UnsupportedFormat,
)
from store.fallbacks import Fallback
from store.features import FeatureStore
from store.ids import JSON, canonical_json, check_name, content_id
from store.keys import RepresentationKey
from store.results import ResultStore
from store.root import Store, open_store
from store.verify import Checked, Problem, verify

__all__ = [
    "JSON",
    "Checked",
    "Conflict",
    "Corrupt",
    "DrfarmError",
    "Fallback",
    "FeatureStore",
    "FeatureWriter",
    "Features",
    "Incomplete",
    "InvalidRequest",
    "NotFound",
    "Overflow",
    "Problem",
    "RepresentationInfo",
    "RepresentationKey",
    "ResultStore",
    "StorageFailure",
    "Store",
    "StoreError",
    "UnknownName",
    "UnsupportedFormat",
    "canonical_json",
    "check_name",
    "content_id",
    "open_store",
    "verify",
]
