"""The function on this machine: emulator, HTTP server, demo."""
