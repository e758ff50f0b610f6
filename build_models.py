"""Builds the model bundle that the function opens: ``python build_models.py --help``."""

from builder.cli import run

if __name__ == "__main__":
    run()
