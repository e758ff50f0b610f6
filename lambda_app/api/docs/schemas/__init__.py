"""The API's description: what each route takes and answers, as pydantic models.

Only ``/openapi.json`` loads them. Requests are read by ``fields.py``, which costs a cold start nothing;
``tests/unit/app/test_openapi_document.py`` holds the two together.
"""
