"""Tests of modules, in this process or a child of it."""
