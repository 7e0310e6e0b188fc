"""A client that comes back to its scheduler soon after that is there again."""

from distributed import Client

KNOCK_S = 10.0
"""An attempt to come back takes at most so long; the next one begins at once."""


class ReturningClient(Client):
    """The library's client, which knocks again and again at a scheduler that has gone away.

    By itself it waits longer and longer between two attempts, up to what is left of its timeout: a scheduler that was
    away for 20 s was seen to be noticed up to 33 s after it had returned.
    """

    _left = False

    async def _reconnect(self) -> None:
        self._left = True
        await super()._reconnect()

    async def _ensure_connected(self, timeout: float | None = None) -> None:
        """Connect, or raise OSError; attempts begin anew, with short waits, after each call."""
        if self._left and timeout is not None:
            timeout = min(timeout, KNOCK_S)
        await super()._ensure_connected(timeout=timeout)
