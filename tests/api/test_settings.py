"""Settings: a response can be sent back as a request, and absent fields stay unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Running


@pytest.fixture
async def headers(api: Running) -> dict[str, str]:
    return {"authorization": f"Bearer {api.token}"}


async def retention_days(api: Running, headers: dict[str, str]) -> int:
    answer = await api.http.get("/v1/settings", headers=headers)
    days: int = answer.json()["settings"]["retention_days"]
    return days


async def test_a_response_can_be_sent_back(api: Running, headers: dict[str, str]) -> None:
    bodies: list[tuple[dict[str, Any], int]] = [
        ({"retention_days": 7}, 7),
        ({"settings": {"retention_days": 8}}, 8),
        ({"retentionDays": 9}, 9),
    ]
    for body, days in bodies:
        answer = await api.http.put("/v1/settings", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        assert await retention_days(api, headers) == days
        read = (await api.http.get("/v1/settings", headers=headers)).json()
        assert (await api.http.put("/v1/settings", json=read, headers=headers)).json() == read
        assert await retention_days(api, headers) == days


async def test_absent_fields_stay_unchanged(api: Running, headers: dict[str, str]) -> None:
    assert (await api.http.put("/v1/settings", json={"retention_days": 5}, headers=headers)).status_code == 200
    for body, status in (
        ({}, 200),
        ({"settings": {}}, 200),
        ({"retentiondays": 7}, 400),
        ({"settings": {"retentiondays": 7}}, 400),
        ({"settings": {"retention_days": 7}, "retention_days": 8}, 400),
        ({"retention_days": -1}, 400),
    ):
        answer = await api.http.put("/v1/settings", json=body, headers=headers)
        assert answer.status_code == status, (body, answer.text)
        assert await retention_days(api, headers) == 5
    assert (await api.http.put("/v1/settings", json={"retention_days": 0}, headers=headers)).status_code == 200
    assert await retention_days(api, headers) == 0
