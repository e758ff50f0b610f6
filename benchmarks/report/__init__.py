"""Samples to tables, charts and pages."""
