"""The same function as other people write it. Each runs under awslambdaric, in its own environment."""
