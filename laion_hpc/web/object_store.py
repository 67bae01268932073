"""Fetches objects from S3 and from stores that speak its protocol: resumed, sizes checked.

Set up as other S3 clients are, by the environment: requests are signed if AWS_ACCESS_KEY_ID is
set (with AWS_SECRET_ACCESS_KEY and perhaps AWS_SESSION_TOKEN), else anonymous; AWS_REGION is
us-east-1 unless set, where Common Crawl is; AWS_ENDPOINT_URL names another store than Amazon's.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from laion_hpc.errors import InputError, UsageError

SCHEME: Final = "s3://"

_CHUNK = 1 << 20


def split(address: str) -> tuple[str, str]:
    """Bucket and key of `s3://bucket/key`; UsageError if one of them is missing."""
    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        raise UsageError(f"{address}: not an object; write s3://BUCKET/KEY")
    return bucket, key


def check(address: str) -> None:
    """UsageError unless the address names an object and the library for it is installed."""
    split(address)
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise UsageError(f"{address}: reading s3:// needs `pip install laion-hpc[s3]`") from None


def attempt(address: str, aside: Path) -> str:
    """One attempt to bring `aside` to the whole object, from where it stops.

    What went wrong; an empty string if all of it is there. Raises InputError if another attempt
    would be no better: there is no such object, or it may not be read.
    """
    import obstore
    from obstore import exceptions

    bucket, key = split(address)
    try:
        store = _store(bucket)
        entry = obstore.head(store, key)
        size = int(entry["size"])
        have = aside.stat().st_size if aside.exists() else 0
        if have > size:
            aside.unlink()
            have = 0
        if have == size:
            aside.touch()
            return ""
        # An object that is replaced meanwhile is not mixed with the old one.
        options: Any = {"range": {"offset": have}}
        if entry.get("e_tag"):
            options["if_match"] = entry["e_tag"]
        answer = obstore.get(store, key, options=options)
        with aside.open("ab") as file:
            for chunk in answer.stream(min_chunk_size=_CHUNK):
                file.write(chunk)
    except FileNotFoundError:
        raise InputError(f"{address}: no such object or bucket") from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError):
        who = (
            "these credentials" if _credentials() else "an anonymous reader (no AWS_ACCESS_KEY_ID)"
        )
        raise InputError(f"{address}: {who} may not read it") from None
    except exceptions.BaseError as error:
        return str(error).partition("\n")[0][:200]
    got = aside.stat().st_size
    return "" if got == size else f"{got} of {size} bytes"


def _credentials() -> bool:
    return bool(os.environ.get("AWS_ACCESS_KEY_ID"))


def _store(bucket: str) -> Any:
    from obstore.store import S3Store

    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    more: dict[str, Any] = {"endpoint": endpoint} if endpoint else {}
    return S3Store(
        bucket,
        region=os.environ.get("AWS_REGION") or "us-east-1",
        # Without keys the library would ask a cloud machine's metadata service for some.
        skip_signature=not _credentials(),
        client_options={"allow_http": endpoint.startswith("http://"), "timeout": "60s"},
        retry_config={"max_retries": 0},
        **more,
    )
