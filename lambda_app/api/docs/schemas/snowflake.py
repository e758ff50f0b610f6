"""Models of what Snowflake's external functions read."""

from __future__ import annotations

from lambda_app.api.docs.schemas.common import Answer, Pair


class SnowflakeVectors(Answer):
    """The number of each row, and its vector."""

    data: list[Pair[int | list[float] | None]]


class SnowflakeScores(Answer):
    """The number of each row, and its score."""

    data: list[Pair[float | None]]
