"""Starts a job and follows it to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from lambda_app.bulk import s3
from lambda_app.bulk.aws import Location
from lambda_app.bulk.job import read_job
from lambda_app.bulk.layout import PLAN, records_of
from lambda_app.errors import StorageRefusedError
from scripts.bulk.progress import Progress, duration

POLL_SECONDS = 0.5
SLOW_POLL_SECONDS = 2.0


class JobError(RuntimeError):
    """A job failed; the message has its code and what to do."""


def run(
    states: Any,
    machine: str,
    fields: Mapping[str, Any],
    *,
    memory_mb: int,
    architecture: str,
    watch: Callable[[], object] | None = None,
) -> dict[str, Any]:
    """Starts a job, shows a bar until it ends, and returns its summary.

    Args:
        states: a client of Step Functions.
        machine: the ARN of the state machine.
        fields: the job's.
        memory_mb: of the function, for the cost.
        architecture: of the function, ``x86_64`` or ``aarch64``.
        watch: called at each look at the job.

    Raises:
        JobError: the job failed.
        RequestError: the fields are wrong, or S3 may not be read.
    """
    job = read_job({"action": "plan", **fields})
    place = job.work.below(PLAN)
    # A plan of an earlier job with the same output is not this one's.
    s3.delete([place])
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(fields))["executionArn"]
    progress = Progress(job.work, total_bytes=None, memory_mb=memory_mb, machine=architecture)
    planned = False
    began = time.monotonic()
    while True:
        described = states.describe_execution(executionArn=execution)
        if not planned and (planned := _is_there(place)):
            total = sum(part["end"] - part["start"] for part in records_of(s3.read(place)))
            progress = Progress(job.work, total_bytes=total, memory_mb=memory_mb, machine=architecture)
        if planned:
            progress.show(progress.update())
        if watch is not None:
            watch()
        if described["status"] != "RUNNING":
            break
        time.sleep(POLL_SECONDS if time.monotonic() - began < 120 else SLOW_POLL_SECONDS)
    progress.end()
    if described["status"] != "SUCCEEDED":
        what = f"{described.get('error', '')} {described.get('cause', '')}".strip()
        raise JobError(f"the job {described['status'].lower()}: {what}")
    summary: dict[str, Any] = json.loads(described["output"])
    summary["wall_seconds"] = round(time.monotonic() - began, 1)
    return summary


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """Returns the summary of a job for a terminal."""
    rows, cost = summary["rows"], summary["cost"]
    wall = summary.get("wall_seconds", 0.0)
    rate = f", {rows['out'] / wall:,.0f} rows/s" if wall else ""
    manifest = summary["manifest"]
    function = f"{duration(summary['seconds'])} of the function, {summary['parts']} parts"
    taken = f"time      {duration(wall)}{rate}; {function}"
    return [
        f"rows      {rows['in']:,} in, {rows['out']:,} out, {rows['refused']:,} refused",
        f"vectors   {summary['vectors']:,} of {summary['dimensions']} numbers, {summary['model']}",
        f"tokens    {summary['tokens']:,} ({summary['truncated']:,} texts truncated)",
        taken,
        f"cost      ${cost['total']:.4f} at {cost['memory_mb']} MB ({cost['prices']})",
        f"manifest  s3://{manifest['bucket']}/{manifest['key']}",
    ]


def _is_there(place: Location) -> bool:
    try:
        s3.head(place)
    except StorageRefusedError as error:
        if error.code == "object_not_found":
            return False
        raise
    return True
