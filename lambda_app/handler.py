"""What awslambdaric imports: everything is opened while this module is imported, in init."""

from __future__ import annotations

from lambda_app.coldstart.clock import PhaseClock

# Before the imports that follow, whose time is part of what it tells.
_clock = PhaseClock()

import os

from lambda_app.start import start

handler = start(os.environ, _clock)
