# SPDX-License-Identifier: Apache-2.0
"""Settings of every Minamo process: environment variables ``MINAMO_*`` and one optional TOML file.

Order of precedence: arguments of the command line, environment, file, defaults. The file is the one named
by ``MINAMO_CONFIG``, or ``minamo.toml`` in the working folder when there is one; its keys are the field names
without prefix. Units are in the names (``_s`` seconds, ``_ms`` milliseconds, ``_bytes``, ``_hours``, ``_days``).

Only the composition root reads this object; inner code gets plain values. ``docs/settings.md`` is generated
from the fields (:mod:`api.settings.document`) and a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self

from pydantic import model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from api.settings.alerts import AlertSettings
from api.settings.cap import CapSettings
from api.settings.contacts import ContactSettings
from api.settings.context_sources import ContextSourceSettings
from api.settings.contexts import ContextSettings
from api.settings.database import DatabaseSettings
from api.settings.delivery import DeliverySettings
from api.settings.fields import is_loopback
from api.settings.forecasts import ForecastSettings
from api.settings.general import GeneralSettings
from api.settings.history import HistorySettings
from api.settings.http import HttpSettings
from api.settings.ingest import IngestSettings
from api.settings.mqtt import MqttSettings
from api.settings.overload import OverloadSettings
from api.settings.polls import PollSettings
from api.settings.quality import QualitySettings
from api.settings.queries import QuerySettings
from api.settings.streams import StreamSettings
from api.settings.workers import WorkerSettings

ENVIRONMENT_PREFIX: Final = "MINAMO_"
CONFIG_VARIABLE: Final = "MINAMO_CONFIG"
DEFAULT_CONFIG_FILE: Final = "minamo.toml"
# Variables with our prefix that are not settings: where the file is, and what ./run hands to itself.
OTHER_VARIABLES: Final = frozenset({CONFIG_VARIABLE, "MINAMO_TOKEN", "MINAMO_URL"})


class Settings(
    HistorySettings,
    ForecastSettings,
    QuerySettings,
    ContextSourceSettings,
    ContextSettings,
    CapSettings,
    StreamSettings,
    OverloadSettings,
    DeliverySettings,
    ContactSettings,
    AlertSettings,
    QualitySettings,
    WorkerSettings,
    PollSettings,
    IngestSettings,
    HttpSettings,
    MqttSettings,
    DatabaseSettings,
    GeneralSettings,
    BaseSettings,
):
    """What can be set; with nothing set, ``minamo up`` is a complete hub on this machine."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        validate_default=True,
        hide_input_in_errors=True,  # inputs may be URLs with passwords
    )

    @model_validator(mode="after")
    def _limits_agree(self) -> Self:
        for low, high in (
            ("database_pool_min", "database_pool_max"),
            ("query_default_limit", "query_max_limit"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} is larger than {high} / {low} が {high} を超えています")
        return self

    @property
    def loopback_endpoints_allowed(self) -> bool:
        """Whether requests may name destinations on loopback: only while nobody elsewhere can send requests."""
        return self.allow_private_endpoints or (is_loopback(self.http_host) and not self.public_url)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is the library's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the TOML file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, _config_file(os.environ))


def _config_file(environ: Mapping[str, str]) -> Path:
    """The file to read; one that is named explicitly has to exist."""
    named = environ.get(CONFIG_VARIABLE)
    if named and not Path(named).is_file():
        raise FileNotFoundError(f"{CONFIG_VARIABLE}={named}: no such file / ファイルがありません")
    return Path(named or DEFAULT_CONFIG_FILE)


def unknown_variables(environ: Iterable[str] = os.environ) -> list[str]:
    """Names with our prefix that set nothing: most often misspelled, which would silently mean the "
    "default."""
    known = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields} | OTHER_VARIABLES
    return sorted(name for name in environ if name.startswith(ENVIRONMENT_PREFIX) and name not in known)
