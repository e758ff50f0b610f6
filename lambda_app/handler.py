"""The handler that awslambdaric imports. Importing this module, in init, opens everything."""

from __future__ import annotations

from lambda_app.coldstart.clock import PhaseClock

# Before the imports below, because it measures them too.
_clock = PhaseClock()

import os

from lambda_app.start import start

handler = start(os.environ, _clock)
