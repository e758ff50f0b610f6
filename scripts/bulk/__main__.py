"""``python -m scripts.bulk run s3://in s3://out``, ``estimate`` and ``demo``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from lambda_app.errors import LambdaAppError

DEFAULT_FUNCTION = "PipelineFunction"


def parser() -> argparse.ArgumentParser:
    """Returns the command line."""
    commands = argparse.ArgumentParser(prog="python -m scripts.bulk", description=__doc__)
    choices = commands.add_subparsers(dest="command", required=True)
    run = choices.add_parser("run", help="start a job and follow it")
    estimate = choices.add_parser("estimate", help="rows, tokens, time and price of a job, from a sample")
    for one in (run, estimate):
        one.add_argument("source", help="s3://bucket/prefix or s3://bucket/object")
        one.add_argument("output", help="s3://bucket/prefix or s3vectors://bucket/index")
        _job_arguments(one)
        one.add_argument("--memory-mb", type=int, default=1_769, help="of the function, for the cost")
        one.add_argument("--architecture", choices=("x86_64", "aarch64"), default="x86_64")
        one.add_argument("--stack", help="the stack that has the function and the state machine")
    run.add_argument("--state-machine", help="its ARN, instead of --stack")
    estimate.add_argument("--function", help="its name or ARN, instead of --stack")
    estimate.add_argument("--concurrency", type=int, default=100, help="BulkMaxConcurrency of the stack")
    demo = choices.add_parser("demo", help="20,000 rows on this machine")
    demo.add_argument("--rows", type=int, default=20_000)
    return commands


def _job_arguments(one: argparse.ArgumentParser) -> None:
    one.add_argument("--work", help="s3://bucket/prefix of plan, errors and manifest, for an index")
    one.add_argument("--format", choices=("jsonl", "parquet"))
    one.add_argument("--encoding", choices=("float", "base64"))
    one.add_argument("--input-format", choices=("jsonl", "csv", "tsv", "parquet"))
    one.add_argument("--text-field")
    one.add_argument("--id-field")
    one.add_argument("--metadata-fields", help="names, separated by commas")
    one.add_argument("--input-type", choices=("query", "passage", "none"))
    one.add_argument("--dimensions", type=int)
    one.add_argument("--chunk-tokens", type=int, help="cut documents into pieces of so many tokens")
    one.add_argument("--chunk-overlap", type=int, help="tokens that a piece shares with the one before")
    one.add_argument("--part-bytes", type=int)
    one.add_argument("--tolerated-failure-percentage", type=float)
    one.add_argument("--resume", action="store_true", help="keep the parts that fit")


def job_fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of the job that a command line asks for."""
    names = (
        *("source", "output", "work", "format", "encoding", "input_format", "text_field", "id_field"),
        *("input_type", "dimensions", "part_bytes", "tolerated_failure_percentage"),
    )
    fields = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    if arguments.metadata_fields:
        fields["metadata_fields"] = [name.strip() for name in arguments.metadata_fields.split(",")]
    if arguments.chunk_tokens is not None:
        fields["chunk"] = {"tokens": arguments.chunk_tokens, "overlap": arguments.chunk_overlap or 0}
    if arguments.resume:
        fields["resume"] = True
    return fields


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command."""
    found = parser().parse_args(arguments)
    try:
        return _run(found)
    except LambdaAppError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nnot followed any longer; the job goes on", file=sys.stderr)
        return 130
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
    return 1


def _run(found: argparse.Namespace) -> int:
    if found.command == "demo":
        from scripts.bulk.demo import demo

        return demo(found.rows)
    import boto3

    from scripts.bulk.estimate import estimate, lines
    from scripts.bulk.run import JobError, run, summary_lines

    options = {"memory_mb": found.memory_mb, "architecture": found.architecture}
    key = "BulkStateMachineArn" if found.command == "run" else "PipelineFunctionArn"
    target = found.state_machine if found.command == "run" else found.function
    if target is None:
        stack = found.stack or os.environ.get("STACK_NAME")
        if not stack:
            raise JobError("name the stack: --stack NAME")
        target = _output(boto3.client("cloudformation"), stack, key)
    if found.command == "run":
        summary = run(boto3.client("stepfunctions"), target, job_fields(found), **options)
        print("\n".join(summary_lines(summary)))
    else:
        client = boto3.client("lambda")
        estimated = estimate(client, target, job_fields(found), concurrency=found.concurrency, **options)
        print("\n".join(lines(estimated, found.concurrency)))
    return 0


def _output(formation: Any, stack: str, key: str) -> str:
    from scripts.bulk.run import JobError

    outputs = formation.describe_stacks(StackName=stack)["Stacks"][0].get("Outputs", [])
    for output in outputs:
        if output["OutputKey"] == key:
            value: str = output["OutputValue"]
            return value
    raise JobError(f"the stack {stack} has no {key}: set BulkSourceBucket and BulkOutputBucket")


if __name__ == "__main__":
    sys.exit(main())
