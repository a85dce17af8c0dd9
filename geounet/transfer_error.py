"""How the transfer of a piece of a remote file failed, before anyone knows which piece it was."""

from __future__ import annotations


class TransferError(Exception):
    """A failure with its cause and the next step; ``again`` where another try may help.

    ``pause`` is how many seconds the server asks to be left alone. No text holds a query string,
    a user or a password.
    """

    def __init__(self, cause: str, remedy: str, *, again: bool = False, pause: float = 0.0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy
        self.again = again
        self.pause = pause
