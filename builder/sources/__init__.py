"""Where a model's files come from: the hub, a directory, a PyPI package."""
