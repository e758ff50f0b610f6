"""Tests of the pages and the template."""
