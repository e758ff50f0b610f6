"""What S3 answers, as codes that say whether to mend something or to try again."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from lambda_app.bulk import aws, s3
from lambda_app.errors import LambdaAppError, StorageError, StorageRefusedError
from tests.support.bulk_storage import Storage

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def raised(error: Exception) -> LambdaAppError:
    with pytest.raises(LambdaAppError) as caught, aws.translated("s3://texts/a"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NoSuchKey", "object_not_found"),
        ("NoSuchBucket", "object_not_found"),
        ("404", "object_not_found"),
        ("AccessDenied", "storage_access_denied"),
        ("403", "storage_access_denied"),
        ("ExpiredToken", "storage_access_denied"),
        ("KMS.DisabledException", "storage_access_denied"),
        ("KMS.KMSInvalidStateException", "storage_access_denied"),
        ("PreconditionFailed", "object_changed"),
        ("412", "object_changed"),
        ("InvalidObjectState", "object_unreadable"),
    ],
)
def test_what_has_to_be_mended_is_refused(code: str, expected: str) -> None:
    error = raised(ClientError({"Error": {"Code": code, "Message": "SECRET"}}, "GetObject"))
    assert isinstance(error, StorageRefusedError)
    assert error.code == expected
    assert "s3://texts/a" in error.message
    assert "SECRET" not in error.message


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "503", "RequestTimeout", ""])
def test_what_may_succeed_later_is_raised(code: str) -> None:
    error = raised(ClientError({"Error": {"Code": code}}, "GetObject"))
    assert isinstance(error, StorageError)
    assert "try again" in error.message


@pytest.mark.parametrize(
    "error", [EndpointConnectionError(endpoint_url="http://x"), ReadTimeoutError(endpoint_url="http://x")]
)
def test_a_service_that_does_not_answer_is_raised(error: Exception) -> None:
    assert isinstance(raised(error), StorageError)


@pytest.mark.parametrize("bucket", ["Bad Bucket", "a b", "x" * 300, "ünïcode"])
def test_names_that_no_bucket_has_are_refused(store: Storage, bucket: str) -> None:
    with pytest.raises(StorageRefusedError) as caught:
        s3.read(aws.Location(bucket, "a"))
    assert caught.value.code == "object_not_found"
