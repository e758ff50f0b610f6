"""Runs contenders and records samples."""
