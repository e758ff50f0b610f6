"""Objects of S3, each embedded as a whole: notifications of a bucket, and tasks of S3 Batch Operations.

An object is one ``embed_object`` whose files go below the RESULT_SINK. What is done stays where time runs
out, so that the next attempt goes on from there.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-invoke-lambda.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from lambda_app.api.events.records import get, word
from lambda_app.api.parsing import fields
from lambda_app.errors import DeadlineError, FieldError, LambdaAppError, RequestError
from lambda_app.invocation import Invocation, Result

if TYPE_CHECKING:
    from lambda_app.service.service import Service

SOURCE, CREATED = "aws:s3", "ObjectCreated:"
# What a task may say of its job, in the arguments of the batch job.
ARGUMENTS = ("output", "work", "format", "encoding", "text_field", "id_field", "input_format", "input_type")


def matches(output: str | None, event: Any) -> bool:
    """Whether an event is of objects, and there is an ``output`` for them."""
    records = event.get("Records") if isinstance(event, dict) else None
    if output is None or not isinstance(records, list) or not records:
        return False
    return all(isinstance(record, dict) and record.get("eventSource") == SOURCE for record in records)


def answer(output: str | None, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Embeds each object that was created; objects below the output itself are passed over.

    Raises:
        LambdaAppError: of the first object that could not be embedded, so that the event comes back. The
            others are embedded by then.
    """
    first: LambdaAppError | None = None
    embedded = 0
    for index, record in enumerate(event["Records"]):
        name = record.get("eventName")
        if not (isinstance(name, str) and name.removeprefix("s3:").startswith(CREATED)):
            continue
        try:
            source = _source(record, f"Records[{index}]")
            # What is written here is announced as well, where the notification is of the whole bucket.
            if not f"{source}/".startswith(f"{output}/"):
                _embed(service, {"source": source, "output": output}, invocation)
                embedded += 1
        except LambdaAppError as error:
            invocation.log.warning(
                "object_failed", request_id=invocation.request_id, record=index, code=error.code
            )
            first = first or error
    if first is not None:
        raise first
    return Result({"embedded": embedded})


def matches_tasks(event: Any) -> bool:
    """Whether an event holds tasks of S3 Batch Operations."""
    return (
        isinstance(event, dict)
        and "invocationSchemaVersion" in event
        and isinstance(event.get("tasks"), list)
    )


def answer_tasks(
    output: str | None, service: Service, event: Mapping[str, Any], invocation: Invocation
) -> Result:
    """Embeds the object of each task; what may succeed the next time is a temporary failure."""
    job = event.get("job")
    given = job.get("userArguments") if isinstance(job, dict) else None
    results = []
    for index, task in enumerate(event["tasks"]):
        code, text = "Succeeded", "ok"
        try:
            arguments = fields.json_object(given or {}, "userArguments")
            fields.reject_unknown(arguments, ARGUMENTS)
            source = _task_source(task, f"tasks[{index}]")
            _embed(service, {"output": output, **arguments, "source": source}, invocation)
        except RequestError as error:
            code, text = "PermanentFailure", f"{error.code}: {error.message}"
        except Exception as error:
            if not isinstance(error, DeadlineError):
                invocation.log_fault(error)
            code, text = "TemporaryFailure", LambdaAppError.code
            if isinstance(error, LambdaAppError):
                text = f"{error.code}: {error.message}"
        results.append({"taskId": word(task, "taskId"), "resultCode": code, "resultString": text})
    failed = sum(result["resultCode"] != "Succeeded" for result in results)
    response = {
        "invocationSchemaVersion": word(event, "invocationSchemaVersion"),
        "treatMissingKeysAs": "TemporaryFailure",
        "invocationId": word(event, "invocationId"),
        "results": results,
    }
    return Result(response, f"{failed} of {len(results)} failed" if failed else "ok")


def _embed(service: Service, job: Mapping[str, Any], invocation: Invocation) -> None:
    """Embeds one object.

    Raises:
        DeadlineError: a part of it is still to be done.
        LambdaAppError: it cannot be embedded.
    """
    from lambda_app.bulk import embed_object

    if job.get("output") is None:
        raise FieldError(
            "there is no output: set RESULT_SINK to s3://bucket/prefix, or state output in the job's "
            "arguments",
            param="output",
            code="missing_field",
        )
    response = embed_object.run(service, {"action": "embed_object", "resume": True, **job}, invocation)
    if not response["done"]:
        done = response["rows"]
        raise DeadlineError(
            "time ran out before the object was done: the next attempt goes on from there, and a longer "
            "time-out needs fewer",
            done=done,
            total=done + 1,
        )


def _source(record: Mapping[str, Any], where: str) -> str:
    content = get(record, "s3")
    return _url(get(get(content, "bucket"), "name"), get(get(content, "object"), "key"), where)


def _task_source(task: Any, where: str) -> str:
    bucket = get(task, "s3Bucket")
    arn = get(task, "s3BucketArn")
    if bucket is None and isinstance(arn, str):
        bucket = arn.rpartition(":")[2]
    return _url(bucket, get(task, "s3Key"), where)


def _url(bucket: Any, key: Any, where: str) -> str:
    if not (isinstance(bucket, str) and bucket and isinstance(key, str) and key):
        raise FieldError(f"{where} names no object", param=where)
    # Keys are written as in a form: a space is a plus sign.
    return f"s3://{bucket}/{unquote_plus(key)}"
