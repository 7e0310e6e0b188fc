"""What can go wrong on top.

store.InvalidRequest
└── InvalidStudy        the study file is wrong: every fault of it is named at once
store.DrfarmError
└── JobsFailed          some jobs failed; they are named and the rest is done (exit code 1)
    └── FarmFailed      worker processes can't be started, or don't stay alive; what is finished is kept
"""

from store import DrfarmError, InvalidRequest


class InvalidStudy(InvalidRequest):
    """The study file is wrong."""


class JobsFailed(DrfarmError):
    """Some jobs failed; the rest is done."""


class FarmFailed(JobsFailed):
    """Worker processes can't be started, or don't stay alive."""
