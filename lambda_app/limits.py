"""Every limit in one place.

The payload sizes are AWS's own quotas
(https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html); the others keep one request from
occupying a function for longer than its caller waits.
"""

from __future__ import annotations

from typing import NamedTuple

# Lambda ends the runtime process when a synchronous response passes this many bytes (6 MiB + 100).
LAMBDA_RESPONSE_BYTES = 6_291_556
# Lambda takes no event over this many bytes (6 MiB).
LAMBDA_REQUEST_BYTES = 6_291_456
# An Application Load Balancer drops Lambda responses over 1 MB.
ALB_RESPONSE_BYTES = 1_048_576
# Padded tokens in one inference batch. Twice as many run no faster, because a layer's activations then leave
# the CPU's cache, and peak memory grows with them.
BATCH_TOKENS = 1_024
# Tokens after which a session repacks its weights: by then, what it gains per token has paid for it twice.
REPACK_TOKENS = 4_096
# Below this the second copy of the weights might not fit beside everything else.
REPACK_MEMORY_MB = 1_024


class Limits(NamedTuple):
    """The largest request. Counts are items; lengths are Unicode characters.

    ``events`` are those of one list or of one batch of SQS messages, of which AWS sends 10,000 at most.
    """

    embed_texts: int = 2_048
    rerank_documents: int = 1_000
    events: int = 10_000
    text_characters: int = 200_000
    total_characters: int = 4_000_000
    response_bytes: int = LAMBDA_RESPONSE_BYTES
