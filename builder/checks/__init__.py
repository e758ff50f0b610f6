"""A model's own files, checked against the config."""
