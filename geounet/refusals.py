"""What it means when a server answers with anything else than a part of the file."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from time import time

from geounet.connections import Answer
from geounet.transfer_error import TransferError

PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that another try may change."""
_OF_S3 = {
    "NoSuchBucket": ("the bucket does not exist", "check the name after s3://"),
    "NoSuchKey": ("the bucket holds no such file", "check the path, upper and lower case too"),
    "InvalidAccessKeyId": (
        "the access key is not known",
        "check AWS_ACCESS_KEY_ID, or the profile that AWS_PROFILE names",
    ),
    "SignatureDoesNotMatch": (
        "the secret key does not belong to the access key",
        "check AWS_SECRET_ACCESS_KEY, or the profile that AWS_PROFILE names",
    ),
    "ExpiredToken": ("the session has run out", "sign in again"),
    "InvalidToken": ("the session token is not valid", "check AWS_SESSION_TOKEN, or sign in again"),
    "AccessDenied": (
        "access is denied",
        "ask the owner of the bucket for leave to read; where the reader pays, set "
        "AWS_REQUEST_PAYER=requester; for a public bucket AWS_NO_SIGN_REQUEST=YES",
    ),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "set the clock"),
}
_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)
_OF_STATUS = {
    401: ("the server asks who you are", "give an address that is signed, or user and password"),
    403: (
        "the server refuses it",
        "a signed address may have run out: ask for a new one, or for leave to read",
    ),
    404: ("the server has no such file", "check the address"),
    410: ("the server has no such file any more", "check the address"),
    416: ("the file is empty or shorter than it was", "check what lies at the address"),
}


def refusal(file: str, answer: Answer, start: int) -> TransferError:
    """The failure that an answer other than 206 stands for, with a cause and a next step."""
    status, code = answer.status, _code(answer)
    what = f"{status} {code}".strip()
    if status == 200:
        return TransferError(
            "the server sends the whole file where a part was asked for",
            "download the file first and give its path, or put it on a server that answers to "
            "Range requests",
        )
    if status in PASSING or code in ("SlowDown", "RequestTimeout"):
        return TransferError(
            f"the server is overloaded or broken ({what})", "", again=True, pause=_wish(answer)
        )
    region = answer.headers.get("x-amz-bucket-region", "")
    if file.startswith("s3://") and (code in _REGION or status in (301, 307)):
        named = f"AWS_REGION={region}" if re.fullmatch(r"[a-z0-9-]{1,40}", region) else "AWS_REGION"
        return TransferError(f"the bucket lies in another region ({what})", f"set {named}")
    cause, remedy = (
        (_OF_S3.get(code) if file.startswith("s3://") else None)
        or _OF_STATUS.get(status)
        or ("the server does not give it", "check the address")
    )
    return TransferError(f"{cause} ({what})", remedy)


def _code(answer: Answer) -> str:
    """The name that S3 and its kin give a failure in a short XML document, or ""."""
    found = re.search(rb"<Code>([A-Za-z]{1,60})</Code>", answer.body[:4096])
    return found[1].decode() if found and answer.status >= 300 else ""


def _wish(answer: Answer) -> float:
    """Seconds of rest that Retry-After asks for; 0 where it does not say."""
    text = answer.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, OverflowError):
        return 0.0
