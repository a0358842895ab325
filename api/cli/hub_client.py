# SPDX-License-Identifier: Apache-2.0
"""A client of the hub's own API, for the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, Final, Self

import httpx
import orjson

TOKEN_VARIABLE: Final = "MINAMO_TOKEN"  # noqa: S105 - the name of a variable
_TIMEOUT_S: Final = 30.0
_RECONNECT_S: Final = 1.0
# A part of an import, or the turn of an export, may take longer than anything else.
_UPLOAD_TIMEOUT: Final = httpx.Timeout(_TIMEOUT_S, read=600.0, write=600.0)


class HubError(Exception):
    """The hub cannot be reached or answers with an error; the text is for the person at the terminal.

    ``may_pass``: the same request may be answered a moment later.
    """

    def __init__(self, text: str, *, may_pass: bool = False) -> None:
        self.may_pass = may_pass
        super().__init__(text)


class HubClient:
    """Requests to the hub at ``url`` with the token from the environment, if there is one."""

    def __init__(self, url: str, tenant: str | None = None) -> None:
        headers = {}
        if token := os.environ.get(TOKEN_VARIABLE):
            headers["Authorization"] = f"Bearer {token}"
        if tenant is not None:
            headers["NGSILD-Tenant"] = tenant
        self._client = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """The document at ``path``."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._request("GET", path, params=given)

    def put(self, path: str, document: Any) -> Any:
        """Put ``document``; returns the answer."""
        return self._request("PUT", path, content=orjson.dumps(document), headers=_JSON)

    def post(self, path: str, **parameters: Any) -> Any:
        """Post without a body."""
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._request("POST", path, params=given)

    def send(self, path: str, document: Any) -> Any:
        """Post ``document``; returns the answer."""
        return self._request("POST", path, content=orjson.dumps(document), headers=_JSON)

    def patch(self, path: str, document: Any) -> Any:
        """Patch ``path`` with ``document``; returns the answer."""
        return self._request("PATCH", path, content=orjson.dumps(document), headers=_JSON)

    def delete(self, path: str, **parameters: Any) -> None:
        """Delete ``path``."""
        given = {name: value for name, value in parameters.items() if value is not None}
        self._request("DELETE", path, params=given)

    def upload(self, path: str, body: bytes, media_type: str, parameters: dict[str, Any]) -> Any:
        """Post ``body``; returns the answer. Waits as long as it takes."""
        headers = {"Content-Type": media_type}
        return self._request("POST", path, content=body, headers=headers, params=parameters, timeout=_UPLOAD_TIMEOUT)

    def download(self, path: str, parameters: dict[str, Any]) -> Iterator[bytes]:
        """The body at ``path`` in blocks. Raises :class:`HubError`, also when it breaks off."""
        given = {name: value for name, value in parameters.items() if value is not None}
        headers = {"Accept-Encoding": "identity"}
        try:
            with self._client.stream("GET", path, params=given, headers=headers, timeout=_UPLOAD_TIMEOUT) as response:
                if response.is_error:
                    response.read()
                    raise HubError(_problem(response))
                yield from response.iter_bytes()
        except httpx.HTTPError as exc:
            raise HubError(f"the hub broke off ({exc}) / 途中で切れました") from exc

    def events(self, path: str, after: int | None = None) -> Iterator[dict[str, Any]]:
        """The events of a server-sent stream, for ever: after a break it goes on where it was."""
        while True:
            headers = {"Last-Event-ID": str(after)} if after is not None else {}
            try:
                timeout = httpx.Timeout(_TIMEOUT_S)
                with self._client.stream("GET", path, headers=headers, timeout=timeout) as response:
                    if response.is_error:
                        response.read()
                        raise HubError(_problem(response))
                    for event in _parse(response.iter_lines()):
                        after = event.get("sequence", after)
                        yield event
            except httpx.HTTPError:
                time.sleep(_RECONNECT_S)

    def _request(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
        except httpx.HTTPError as exc:
            raise HubError(
                f"the hub at {self._client.base_url} does not answer ({exc}); is it running? / "
                f"ハブ（{self._client.base_url}）に接続できません",
                may_pass=True,
            ) from exc
        if response.is_error:
            raise HubError(_problem(response), may_pass=response.status_code in (409, 502, 503, 504))
        return orjson.loads(response.content) if response.content else None


_JSON: Final = {"Content-Type": "application/json"}


def _problem(response: httpx.Response) -> str:
    try:
        problem = orjson.loads(response.content)
        return f"{response.status_code} {problem.get('title', '')} {problem.get('detail', '')}".strip()
    except (orjson.JSONDecodeError, AttributeError):
        return f"{response.status_code} {response.text[:300]}"


def _parse(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data:"):
            yield orjson.loads(line[5:])
