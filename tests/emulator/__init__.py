"""Tests of the function under the Lambda Runtime Interface Emulator."""
