"""What each route responds, as pydantic models; only ``/openapi.json`` loads them.

Requests are described by the classes that read them, beside each provider's functions.
"""
