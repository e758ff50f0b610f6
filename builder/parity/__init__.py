"""The gate: a finished bundle compared with the PyTorch model."""
