"""s3:// addresses: the https address that each stands for, and the signature of a request.

Keys come from where every AWS tool looks for them, by botocore. The variables are those of GDAL and
the AWS tools: AWS_S3_ENDPOINT or AWS_ENDPOINT_URL_S3, AWS_HTTPS, AWS_VIRTUAL_HOSTING, AWS_REGION,
AWS_NO_SIGN_REQUEST, AWS_REQUEST_PAYER.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import quote

from geounet.transfer_error import TransferError

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from botocore.session import Session

_NO = ("NO", "FALSE", "OFF", "0")
_lock = Lock()


def own_endpoint() -> str:
    """The S3 server that the user's environment names in place of Amazon's, or ""."""
    names = ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


def endpoint_url() -> str | None:
    """The same as an address, or None."""
    return _whole(own_endpoint()) if own_endpoint() else None


def _whole(endpoint: str) -> str:
    endpoint = endpoint.rstrip("/")
    if "://" in endpoint:
        return endpoint
    return f"{'http' if _says('AWS_HTTPS', _NO) else 'https'}://{endpoint}"


def url_of(file: str) -> str:
    """The address that a request for ``s3://BUCKET/KEY`` goes to."""
    bucket, _, key = file.removeprefix("s3://").partition("/")
    path = quote(key, safe="/~-._")
    endpoint = own_endpoint()
    if not endpoint:
        # A bucket with a dot in its name has no certificate of its own.
        host = f"s3.{_region()}.amazonaws.com"
        return (
            f"https://{host}/{bucket}/{path}"
            if "." in bucket
            else f"https://{bucket}.{host}/{path}"
        )
    scheme, _, host = _whole(endpoint).partition("://")
    if os.environ.get("AWS_VIRTUAL_HOSTING", "").upper() in ("YES", "TRUE", "ON", "1"):
        return f"{scheme}://{bucket}.{host}/{path}"
    return f"{scheme}://{host}/{bucket}/{path}"


def signature(file: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that prove who asks for a part of the file; they hold for some minutes.

    Raises:
        TransferError: if there are no keys, or botocore is not installed.
    """
    payer = (
        {"x-amz-request-payer": "requester"} if _says("AWS_REQUEST_PAYER", ("REQUESTER",)) else {}
    )
    if _says("AWS_NO_SIGN_REQUEST", ("YES", "TRUE", "ON", "1")):
        return payer
    _require_botocore()
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest

    request = AWSRequest("GET", url_of(file), headers=dict(headers) | payer)
    S3SigV4Auth(_keys(), "s3", _region()).add_auth(request)
    return {name: value for name, value in request.headers.items() if name not in headers}


def _require_botocore() -> None:
    try:
        import botocore  # noqa: F401
    except ImportError:
        raise TransferError(
            "s3:// needs the package botocore",
            "install it with `pip install 'geounet[s3]'`, or set AWS_NO_SIGN_REQUEST=YES for a "
            "public bucket",
        ) from None


def _keys() -> Credentials:
    from botocore.exceptions import BotoCoreError

    try:
        with _lock:
            keys = _session(os.environ.get("AWS_PROFILE", "")).get_credentials()
        if keys is None:
            raise TransferError(
                "there are no AWS keys",
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public "
                "bucket AWS_NO_SIGN_REQUEST=YES",
            )
        return keys.get_frozen_credentials()
    except BotoCoreError as error:
        raise TransferError(
            f"the AWS keys cannot be had ({type(error).__name__})",
            "sign in again, or check AWS_PROFILE",
        ) from None


@cache
def _session(profile: str) -> Session:
    """Kept, as keys of a role are fetched once and renewed by it."""
    from botocore.session import Session

    return Session(profile=profile or None)


def forget_keys() -> None:
    """Look for keys anew at the next request."""
    _session.cache_clear()


def _region() -> str:
    names = ("AWS_REGION", "AWS_DEFAULT_REGION")
    said = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return said or _region_of_profile() or "us-east-1"


def _region_of_profile() -> str:
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return ""
    try:
        with _lock:
            session = _session(os.environ.get("AWS_PROFILE", ""))
            return session.get_config_variable("region") or ""
    except BotoCoreError:
        return ""


def _says(name: str, values: tuple[str, ...]) -> bool:
    return os.environ.get(name, "").upper() in values
