"""Tools around the function (local emulator, demo, local server); nothing here runs in it."""
