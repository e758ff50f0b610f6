"""Clients of S3 and S3 Vectors, and their many errors as a few typed ones; the only user of boto3 here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
    from urllib3.exceptions import HTTPError
except ImportError as error:
    from lambda_app.errors import ConfigurationError

    raise ConfigurationError(
        "bulk jobs need boto3, which is not in this image: build it with EXTRAS=bulk, or install "
        "requirements/bulk.txt"
    ) from error

from lambda_app.errors import FieldError, StorageError, StorageRefusedError

CONNECT_SECONDS = 5
READ_SECONDS = 60
# botocore waits up to 20 seconds between two attempts, longer each time, also where a request was throttled.
ATTEMPTS = 8
CONNECTIONS = 16

MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "NotFoundException"}
DENIED = {
    *("403", "AccessDenied", "AccessDeniedException", "Forbidden", "InvalidAccessKeyId"),
    *("SignatureDoesNotMatch", "ExpiredToken", "KmsAccessDeniedException"),
}
CHANGED = {"412", "PreconditionFailed"}
# Of a key of KMS that is disabled, deleted or not for this role.
KMS = "KMS"
ARCHIVED = "InvalidObjectState"

_lock = threading.Lock()


class Location(NamedTuple):
    """A bucket and a key or prefix in it; of S3 Vectors, a bucket and an index."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def below(self, name: str) -> Location:
        """Returns the place of ``name`` below this prefix."""
        prefix = self.key.rstrip("/")
        return self._replace(key=f"{prefix}/{name}" if prefix else name)


def location(url: str, name: str, scheme: str = "s3") -> Location:
    """Reads ``s3://bucket/key``.

    Raises:
        FieldError: it is something else; ``name`` is the field that it stands in.
    """
    found, separator, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if found != scheme or not separator or not bucket:
        raise FieldError(f"{name} must be {scheme}://bucket/...", param=name)
    return Location(bucket, key)


def client(service: str) -> Any:
    """Returns the process's client of ``s3`` or ``s3vectors``.

    Raises:
        StorageError: there is no region, or no such service.
    """
    with _lock:
        return _client(service)


@cache
def _client(service: str) -> Any:
    with translated(service):
        return boto3.session.Session().client(
            service,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                max_pool_connections=CONNECTIONS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            ),
        )


forget_clients: Callable[[], None] = _client.cache_clear


@contextmanager
def translated(where: object) -> Iterator[None]:
    """Turns the clients' errors into ours, which say what to do; ``where`` is what was read or written."""
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        raise _refused(where, code) from error
    except ParamValidationError as error:
        raise StorageRefusedError(
            f"{where} is not a name that the service takes: correct it", code="object_not_found"
        ) from error
    except (BotoCoreError, HTTPError) as error:
        raise StorageError(
            f"{where} could not be reached ({type(error).__name__}): try again, and in a VPC add an endpoint "
            "for the service"
        ) from error


def _refused(where: object, code: str) -> StorageError | StorageRefusedError:
    if code in MISSING:
        return StorageRefusedError(f"there is no {where} ({code}): correct its name", code="object_not_found")
    if code == ARCHIVED:
        return StorageRefusedError(
            f"{where} is archived ({code}): restore it, or leave it out of the source",
            code="object_unreadable",
        )
    if code in DENIED or code.startswith(KMS):
        return StorageRefusedError(
            f"{where} may not be used ({code}), or is not there: give the function's role the rights that "
            "docs/BULK.md lists, and those of the KMS key where the bucket has one",
            code="storage_access_denied",
        )
    if code in CHANGED:
        return StorageRefusedError(
            f"{where} has changed since the job was planned: plan the job again", code="object_changed"
        )
    return StorageError(f"{where} could not be used ({code}): try again")
