"""Jobs over objects in S3, started and followed from a terminal: ``python -m scripts.bulk``."""
