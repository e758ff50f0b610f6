"""Bundles in S3, through boto3's transfer manager: parallel ranges, asked for again when they broke off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

try:
    import boto3
    from boto3.s3.transfer import TransferConfig, create_transfer_manager
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError
    from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError, S3ValidationError
except ImportError as error:
    from lambda_app.errors import ConfigurationError

    raise ConfigurationError(
        "MODEL_BUNDLE_URL=s3://... needs boto3, which is not in this image: build it without a bundle "
        "(BUNDLE_FROM=none), or install requirements/fetch.txt",
        param="MODEL_BUNDLE_URL",
    ) from error

from lambda_app.errors import FetchError

CONNECTIONS = 16
# Init has ten seconds: three attempts to reach S3 that end before those do leave a message and not a timeout.
CONNECT_SECONDS = 2
READ_SECONDS = 10
ATTEMPTS = 3
# Pieces of 256 KiB that wait to be written: the transfer manager's own bound would hold 256 MB.
QUEUED_PIECES = 64

BROKEN_OFF = (RetriesExceededError, S3DownloadFailedError, S3ValidationError)
MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}
DENIED = {"403", "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"}


class S3Source:
    """Objects below a prefix of one bucket, read with the function's own role."""

    def __init__(self, bucket: str, prefix: str, range_bytes: int) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._futures: list[Any] = []
        retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
        with self._translated(""):
            self._client = boto3.session.Session().client(
                "s3",
                config=Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries=retries,
                    max_pool_connections=CONNECTIONS,
                ),
            )
        self._manager = create_transfer_manager(
            self._client,
            TransferConfig(
                multipart_threshold=range_bytes,
                multipart_chunksize=range_bytes,
                max_concurrency=CONNECTIONS,
                max_io_queue=QUEUED_PIECES,
                # Where somebody installed the AWS CRT, which raises errors of its own kind.
                preferred_transfer_client="classic",
            ),
        )

    def read(self, path: str) -> bytes:
        """Returns the content of a small object."""
        with self._translated(path):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + path)[
                "Body"
            ].read()
        return content

    def download(self, path: str, target: Path) -> Callable[[], object]:
        """Begins to download an object; the result waits for its end and raises what went wrong."""
        future = self._manager.download(self._bucket, self._prefix + path, str(target))
        self._futures.append(future)

        def finish() -> None:
            with self._translated(path):
                future.result()

        return finish

    def close(self) -> None:
        """Ends all downloads."""
        # Not shutdown(cancel=True), which raises a TypeError in s3transfer 0.19.
        for future in self._futures:
            future.cancel()
        self._manager.shutdown()
        self._client.close()

    @contextmanager
    def _translated(self, path: str) -> Iterator[None]:
        """The client's many errors, as one line each with what to do. Errors of the disk pass."""
        where = f"s3://{self._bucket}/{self._prefix}{path}"
        try:
            yield
        except NoRegionError as error:
            raise FetchError(
                f"cannot fetch {where}: set AWS_REGION to the bucket's region", code="bundle_access_denied"
            ) from error
        except NoCredentialsError as error:
            raise FetchError(
                f"cannot fetch {where}: there are no credentials. Give the function a role with s3:GetObject",
                code="bundle_access_denied",
            ) from error
        except ClientError as error:
            raise _refused(where, str(error.response.get("Error", {}).get("Code", ""))) from error
        except (BotoCoreError, *BROKEN_OFF) as error:
            raise FetchError(
                f"{where} could not be fetched ({type(error).__name__}). In a VPC, S3 is reached through a "
                "gateway endpoint; otherwise try again"
            ) from error


def _refused(where: str, code: str) -> FetchError:
    if code in MISSING:
        return FetchError(
            f"there is no {where} ({code}): upload the bundle, or correct MODEL_BUNDLE_URL",
            code="bundle_not_found",
        )
    if code in DENIED:
        return FetchError(
            f"{where} may not be read ({code}), or is not there: give the function's role s3:GetObject, "
            "and s3:ListBucket on the bucket to be told which",
            code="bundle_access_denied",
        )
    return FetchError(f"{where} could not be fetched ({code}): try again")
