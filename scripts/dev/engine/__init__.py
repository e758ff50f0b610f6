"""A Docker engine and base images for machines that have neither; ``.ci/engine.py`` is its command.

Standard library only: the machine's own Python runs it before anything is installed.
"""
