# SPDX-License-Identifier: Apache-2.0
"""Settings: sources, refusals, and that each one is documented."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.settings import Settings, unknown_variables
from api.settings.document import GROUPS, settings_document
from api.settings.fields import default_data_dir, is_loopback

DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"
TOKEN_HASH = hashlib.sha256(b"token").hexdigest()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("MINAMO_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_embedded_hub_on_loopback() -> None:
    settings = Settings()
    assert (settings.database_url, settings.mqtt_url, settings.http_host) == (None, None, "127.0.0.1")


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "minamo.toml").write_text("http_port = 1\nmqtt_port = 2\n")
    monkeypatch.setenv("MINAMO_HTTP_PORT", "3")
    settings = Settings()
    assert (settings.http_port, settings.mqtt_port) == (3, 2)


def test_an_empty_variable_means_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINAMO_DATABASE_URL", "")
    assert Settings().database_url is None


def test_a_named_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINAMO_CONFIG", "nowhere.toml")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.toml"):
        Settings()


def test_an_unknown_key_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "minamo.toml").write_text("http_prot = 1\n")
    with pytest.raises(ValidationError, match="http_prot"):
        Settings()


def test_misspelled_variables_are_found() -> None:
    assert unknown_variables(["MINAMO_HTTP_PROT", "MINAMO_HTTP_PORT", "MINAMO_CONFIG", "HOME"]) == ["MINAMO_HTTP_PROT"]


@pytest.mark.parametrize("text", [f"{TOKEN_HASH},{TOKEN_HASH.upper()}", f'["{TOKEN_HASH}", "{TOKEN_HASH}"]'])
def test_lists_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MINAMO_API_TOKENS_SHA256", text)
    assert Settings().api_tokens_sha256 == (TOKEN_HASH, TOKEN_HASH)


def test_a_token_in_the_clear_is_refused_and_not_repeated_in_the_message() -> None:
    with pytest.raises(ValidationError, match="SHA-256") as caught:
        Settings(api_tokens_sha256=("my-secret-token",))
    assert "my-secret-token" not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hub.example"])  # noqa: S104 - that is what is refused
def test_without_tokens_only_loopback_is_served(host: str) -> None:
    with pytest.raises(ValidationError, match=r"MINAMO_API_TOKENS_SHA256.*認証なし"):
        Settings(http_host=host)


def test_with_a_token_any_address_is_served() -> None:
    assert Settings(http_host="0.0.0.0", api_tokens_sha256=(TOKEN_HASH,)).http_host == "0.0.0.0"  # noqa: S104


def test_loopback_endpoints_are_closed_once_others_can_subscribe() -> None:
    assert Settings().loopback_endpoints_allowed
    opened = Settings(http_host="0.0.0.0", api_tokens_sha256=(TOKEN_HASH,))  # noqa: S104
    assert not opened.loopback_endpoints_allowed
    assert not Settings(public_url="https://data.city.example/hub").loopback_endpoints_allowed


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("127.1.2.3", True), ("::1", True), ("10.0.0.1", False), ("x", False)],
)
def test_is_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_passwords_in_urls_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINAMO_DATABASE_URL", "postgresql://hub:hunter2@db/minamo")
    assert "hunter2" not in repr(Settings())


def test_urls_of_other_schemes_are_refused() -> None:
    with pytest.raises(ValidationError, match="postgresql://"):
        Settings(database_url="mysql://db/minamo")
    with pytest.raises(ValidationError, match="mqtt://"):
        Settings(mqtt_url="http://broker")


def test_the_smaller_limit_has_to_be_smaller() -> None:
    with pytest.raises(ValidationError, match="query_default_limit is larger than query_max_limit"):
        Settings(query_default_limit=100, query_max_limit=10)


def test_the_data_folder_of_root_and_of_others() -> None:
    assert default_data_dir({}, is_root=True) == Path("/var/lib/minamo")
    assert default_data_dir({"XDG_DATA_HOME": "/data"}, is_root=False) == Path("/data/minamo")
    assert default_data_dir({"XDG_DATA_HOME": "data"}, is_root=False) == Path.home() / ".local/share/minamo"


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_described_in_both_languages(name: str) -> None:
    field = Settings.model_fields[name]
    assert isinstance(field.json_schema_extra, dict)
    assert field.description
    assert field.json_schema_extra["ja"]
    assert field.json_schema_extra["group"] in GROUPS


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == settings_document()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("https://data.city.example", "https://data.city.example"), ("http://h:8080/hub/", "http://h:8080/hub")],
)
def test_a_public_url_has_no_slash_at_its_end(given: str, kept: str) -> None:
    assert Settings(public_url=given).public_url == kept


@pytest.mark.parametrize("given", ["data.city.example", "ftp://h", "https://h/?a=1", "https://"])
def test_a_public_url_is_an_http_url_without_a_query(given: str) -> None:
    with pytest.raises(ValidationError):
        Settings(public_url=given)


def test_topic_filters_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINAMO_MQTT_TOPIC_FILTERS", "minamo/v1/+/readings, /+/+/attrs,#,a/#")
    assert Settings().mqtt_topic_filters == ("minamo/v1/+/readings", "/+/+/attrs", "#", "a/#")


@pytest.mark.parametrize("text", ["a/b+", "a/#/b", "a#", "+a/b", "$SYS/a"])
def test_what_is_no_topic_filter_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("MINAMO_MQTT_TOPIC_FILTERS", text)
    with pytest.raises(ValidationError, match="is no MQTT topic filter"):
        Settings()
