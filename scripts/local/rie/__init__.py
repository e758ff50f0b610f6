"""The function under the Lambda Runtime Interface Emulator (RIE).

    with Emulator({"MODEL_DIR": "models"}) as emulator:
        response = emulator.invoke({"action": "ping"})

The emulator offers Lambda's own runtime API to ``awslambdaric``: a response here is a response in Lambda.
"""

from scripts.local.rie.binary import EmulatorError, can_emulate, ensure_binary
from scripts.local.rie.emulator import HANDLER, HOST, PATH, Emulator, log_records

__all__ = [
    "HANDLER",
    "HOST",
    "PATH",
    "Emulator",
    "EmulatorError",
    "can_emulate",
    "ensure_binary",
    "log_records",
]
