"""Settings from plain mappings."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from lambda_app.errors import ConfigurationError
from lambda_app.settings import Settings


def test_defaults_serve_everything() -> None:
    settings = Settings.from_env({})
    assert settings.models is None
    assert settings.preload == {"embedding", "reranker", "http"}
    assert settings.model_dir == Path(__file__).resolve().parents[3] / "models"
    assert not settings.eager


def test_everything_can_be_set() -> None:
    settings = Settings.from_env(
        {
            "MODEL_DIR": "/mnt/models",
            "MODEL_BUNDLE_URL": "s3://bucket/bundles/v1/",
            "TMPDIR": "/mnt/tmp",
            "METRICS_NAMESPACE": "",
            "MODELS": "embedding",
            "PRELOAD": " embedding , http ",
            "API_BASE_PATH": "/search/",
            "LOG_LEVEL": "warn",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3008",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        }
    )
    assert settings.model_dir == Path("/mnt/models")
    assert settings.bundle_url == "s3://bucket/bundles/v1"
    assert settings.temporary == Path("/mnt/tmp")
    assert settings.metrics_namespace is None
    assert set(settings.models or ()) == {"embedding"}
    assert settings.preload == {"embedding", "http"}
    assert settings.api_base_path == "/search"
    assert settings.log_level == 30
    assert settings.eager


def test_an_empty_preload_opens_nothing() -> None:
    assert Settings.from_env({"PRELOAD": ""}).preload == frozenset()


@pytest.mark.parametrize(
    ("memory", "cpus", "threads"),
    [(None, 4, 4), ("1024", 2, 1), ("1769", 2, 1), ("1770", 2, 2), ("10240", 6, 6), ("10240", 2, 2)],
)
def test_threads_follow_the_cpus_that_the_memory_buys(memory: str | None, cpus: int, threads: int) -> None:
    environ = {} if memory is None else {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": memory}
    assert Settings.from_env(environ).inference_threads(cpus) == threads


def test_configured_threads_win() -> None:
    assert Settings.from_env({"INFERENCE_THREADS": "3"}).inference_threads(1) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_BUNDLE_URL", "https://example.com/bundle"),
        ("MODEL_BUNDLE_URL", "s3:///prefix"),
        ("MODEL_BUNDLE_URL", "file://relative"),
        ("MODEL_BUNDLE_URL", "/mnt/models"),
        ("MODELS", "embeddings"),
        ("PRELOAD", "http,web"),
        ("INFERENCE_THREADS", "0"),
        ("INFERENCE_THREADS", "two"),
        ("INFERENCE_THREADS", "²"),
        ("API_BASE_PATH", "search"),
        ("API_KEYS_SHA256", "secret"),
        ("API_KEYS_SHA256", " "),
        ("API_KEYS_SHA256", "0" * 64 + ","),
        ("API_KEYS_SHA256", "A" * 64),
        ("API_KEYS_SHA256", "0" * 63 + "٣"),
        ("API_KEYS_SHA256", sha256(b"").hexdigest()),
        ("API_KEYS_SHA256", "0" * 64 + "," + sha256(b"\n").hexdigest()),
        ("CORS_ALLOW_ORIGINS", "https://*.example.com"),
        ("CORS_ALLOW_ORIGINS", "https://a.example,https://*"),
        ("CORS_ALLOW_ORIGINS", "https://Example.com"),
        ("CORS_ALLOW_ORIGINS", "https://example.com:443"),
        ("CORS_ALLOW_ORIGINS", "http://example.com:80"),
        ("CORS_ALLOW_ORIGINS", "https://example.com:"),
        ("CORS_ALLOW_ORIGINS", "https://example.com?secret"),
        ("CORS_ALLOW_ORIGINS", "https://secret@example.com"),
        ("CORS_ALLOW_ORIGINS", "https://"),
        ("CORS_ALLOW_ORIGINS", "https://[::1"),
        ("CORS_ALLOW_ORIGINS", "https://[::1]x"),
        ("CORS_ALLOW_ORIGINS", "ftp://example.com"),
        ("LOG_LEVEL", "loud"),
        ("RESULT_SINK", "store"),
        ("RESULT_SINK", "a-b:store"),
        ("RESULT_SINK", "a:b.c"),
        ("RESULT_SINK", "s3://"),
        ("RESULT_SINK", "s3:///secret"),
        ("RESULT_SINK", "s3vectors://secret"),
        ("RESULT_SINK", "s3vectors://secret/"),
        ("RESULT_SINK", "s3vectors://secret/a/b"),
    ],
)
def test_values_that_cannot_be_used_name_the_variable(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        Settings.from_env({name: value})
    assert caught.value.param == name
    # What is put into the wrong variable may be a secret.
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "http://localhost:3000", "http://[::1]:8080", "https://a-b.example:80", "*"],
)
def test_origins_that_browsers_send(origin: str) -> None:
    assert Settings.from_env({"CORS_ALLOW_ORIGINS": origin}).cors_allow_origins == (origin,)


def test_several_keys_at_once() -> None:
    settings = Settings.from_env({"API_KEYS_SHA256": f"{'0' * 64}, {'f' * 64}"})
    assert settings.api_keys == ("0" * 64, "f" * 64)
    assert Settings.from_env({"API_KEYS_SHA256": ""}).api_keys == ()


@pytest.mark.parametrize(
    ("value", "refuses"), [(None, False), ("", False), ("ignore", False), ("refuse", True), ("Refuse", True)]
)
def test_unknown_are_ignored_unless_they_are_to_be_refused(value: str | None, refuses: bool) -> None:
    environ = {} if value is None else {"UNKNOWN_FIELDS": value}
    assert Settings.from_env(environ).refuses_unknown_fields is refuses


def test_unknown_is_one_of_two_words() -> None:
    with pytest.raises(ConfigurationError, match="UNKNOWN_FIELDS must be ignore or refuse"):
        Settings.from_env({"UNKNOWN_FIELDS": "warn"})


def test_nuls_are_refused_unless_they_are_to_be_stripped() -> None:
    found = [Settings.from_env({"NUL_CHARACTERS": value}).strips_nul for value in ("", "refuse", "Strip")]
    assert found == [False, False, True]
    with pytest.raises(ConfigurationError, match="NUL_CHARACTERS must be refuse or strip"):
        Settings.from_env({"NUL_CHARACTERS": "keep"})


def test_pages_are_public_where_the_setting_says_so() -> None:
    assert [Settings.from_env({"DOCS_PUBLIC": value}).docs_public for value in ("", "false", "true")] == [
        False,
        False,
        True,
    ]
    with pytest.raises(ConfigurationError, match="DOCS_PUBLIC must be false or true"):
        Settings.from_env({"DOCS_PUBLIC": "1"})
