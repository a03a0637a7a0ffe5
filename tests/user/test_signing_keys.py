"""Signing keys: which key signs, which are published, and how instances share them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timedelta

import jwt
import pytest

from moneyprinter import errors
from services.runtime.config import ConfigError
from services.runtime.secrets import Secret
from services.user.context import Actor, Context, TokenSubject
from services.user.tokens.access_tokens import ACCESS_TOKEN_LIFETIME, JwtTokens, generate_signing_key
from services.user.tokens.signing_keys import SECRET_NAME, KeyRing, RotationSchedule, rotate_signing_key
from tests.user.conftest import START, AuditRecording, Clock, MemorySecrets, People

SCHEDULE = RotationSchedule(
    key_lifetime=timedelta(days=30), notice=timedelta(minutes=5), token_lifetime=ACCESS_TOKEN_LIFETIME
)
SUBJECT = TokenSubject("user_1", "ses_1", ())


class Instance:
    """An instance of the service, whose keys a test refreshes."""

    def __init__(self, secrets: MemorySecrets, clock: Clock) -> None:
        self.clock = clock
        self.ring = KeyRing(secrets, SCHEDULE, generate_signing_key, clock)
        self.tokens = JwtTokens(self.ring, "iss", "aud")

    def sign(self) -> str:
        return self.tokens.sign(SUBJECT, self.clock())

    def published(self) -> dict[str, jwt.PyJWK]:
        return {key["kid"]: jwt.PyJWK(key) for key in self.tokens.public_keys(self.clock())}


@pytest.fixture
def secrets() -> MemorySecrets:
    return MemorySecrets()


@pytest.fixture
async def instances(secrets: MemorySecrets, clock: Clock) -> list[Instance]:
    found = [Instance(secrets, clock) for _ in range(3)]
    await asyncio.gather(*(instance.ring.refresh() for instance in found))
    return found


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def is_verified(token: str, published: dict[str, jwt.PyJWK], clock: Clock) -> bool:
    """Return whether a list of keys verifies a token, at the time of the clock."""
    if kid(token) not in published:
        return False
    options: dict[str, bool] = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        token,
        published[kid(token)],
        algorithms=["ES256"],
        audience="aud",
        options=options,  # type: ignore[arg-type]
    )
    return bool(clock().timestamp() < claims["exp"])


async def test_instances_that_start_concurrently_share_one_key(
    instances: list[Instance], secrets: MemorySecrets
) -> None:
    assert len(secrets.values[SECRET_NAME]) == 1
    assert len({kid(instance.sign()) for instance in instances}) == 1
    assert all(len(instance.published()) == 1 for instance in instances)


async def test_a_new_key_is_published_before_it_signs_and_an_old_one_afterwards(
    instances: list[Instance], clock: Clock
) -> None:
    first, *_ = instances
    old = kid(first.sign())
    made = await first.ring.rotate()
    new = first.tokens.key_id(made.pem)
    assert made.sign_time == START + timedelta(minutes=5)
    assert (kid(first.sign()), set(first.published())) == (old, {old, new})
    clock.pass_by(timedelta(minutes=5) - timedelta(microseconds=1))
    last = first.sign()
    assert kid(last) == old
    clock.pass_by(timedelta(microseconds=1))
    assert (kid(first.sign()), set(first.published())) == (new, {old, new})
    clock.pass_by(ACCESS_TOKEN_LIFETIME + timedelta(minutes=5) - timedelta(microseconds=1))
    assert set(first.published()) == {old, new}
    clock.pass_by(timedelta(microseconds=1))
    assert set(first.published()) == {new}
    assert not is_verified(last, first.published(), clock)


async def test_no_key_is_made_while_another_waits_to_sign(instances: list[Instance], clock: Clock) -> None:
    made = await asyncio.gather(*(instance.ring.rotate() for instance in instances * 3))
    assert len({key.pem for key in made}) == 1
    clock.pass_by(timedelta(minutes=5))
    assert (await instances[0].ring.rotate()).pem != made[0].pem


async def test_keys_are_rotated_once_by_age(instances: list[Instance], secrets: MemorySecrets, clock: Clock) -> None:
    clock.pass_by(timedelta(days=30) - timedelta(seconds=1))
    await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(secrets.values[SECRET_NAME]) == 1
    clock.pass_by(timedelta(seconds=1))
    for _ in range(3):
        await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(secrets.values[SECRET_NAME]) == 2
    # Expired keys are dropped.
    for _ in range(5):
        clock.pass_by(timedelta(days=31))
        await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(json.loads(secrets.values[SECRET_NAME][-1])["keys"]) == 2


async def test_cached_lists_hold_every_key_through_many_rotations(instances: list[Instance], clock: Clock) -> None:
    """Instances refresh once a minute; gateway and services cache the list of any of them for two minutes."""

    def published(instance: Instance) -> set[bytes]:
        return {key.pem for key in instance.ring.key_set.list_published(SCHEDULE, clock())}

    cached = [published(instance) for instance in instances]
    alive: list[tuple[datetime, bytes]] = []
    signed: list[bytes] = []
    # Every 20 seconds, for four hours.
    for moment in range(720):
        if moment % 50 == 7:
            await instances[moment % 3].ring.rotate()
        await instances[moment % 3].ring.refresh()
        if moment % 2 == 0:
            cached[moment // 2 % 3] = published(instances[(moment // 6 + moment) % 3])
        alive = [token for token in alive if clock() < token[0]]
        for instance in instances:
            signed.append(instance.ring.key_set.find_signer(clock()).pem)
            alive.append((clock() + ACCESS_TOKEN_LIFETIME, signed[-1]))
        assert {pem for _, pem in alive} <= set.intersection(*cached)
        clock.pass_by(timedelta(seconds=20))
    # No instance returned to an old key, and every key that was made has signed.
    order = list(dict.fromkeys(signed))
    assert signed == sorted(signed, key=order.index)
    assert len(order) == 15


async def test_a_key_of_the_first_versions_signs_until_the_next_one_does(secrets: MemorySecrets, clock: Clock) -> None:
    old = generate_signing_key()
    await secrets.write(SECRET_NAME, old, 0)
    instance = Instance(secrets, clock)
    await instance.ring.refresh()
    assert kid(instance.sign()) == instance.tokens.key_id(old)
    assert len(instance.published()) == 2
    clock.pass_by(timedelta(minutes=5))
    assert kid(instance.sign()) != instance.tokens.key_id(old)


@pytest.mark.parametrize(
    "value", [b"", b"x", b"{}", b'{"keys": []}', b'{"keys": [{"pem": 1}]}', b"[1]", b'{"keys": 1}']
)
async def test_a_secret_without_keys_is_an_error(secrets: MemorySecrets, clock: Clock, value: bytes) -> None:
    await secrets.write(SECRET_NAME, value, 0)
    with pytest.raises(errors.DataLoss):
        await Instance(secrets, clock).ring.refresh()


async def test_an_unusable_key_is_refused(secrets: MemorySecrets, clock: Clock) -> None:
    instance = Instance(secrets, clock)
    await secrets.write(SECRET_NAME, b"-----BEGIN nothing", 0)
    await instance.ring.refresh()
    with pytest.raises(ConfigError, match="no private key"):
        instance.tokens.public_keys(clock())


class UnavailableSecrets(MemorySecrets):
    """Secrets that can be unavailable."""

    unavailable = False

    async def read(self, name: str) -> Secret | None:
        if self.unavailable:
            raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
        return await super().read(name)


async def test_without_the_config_service_the_keys_sign_on_and_the_health_check_fails(clock: Clock) -> None:
    secrets = UnavailableSecrets()
    instance = Instance(secrets, clock)
    await instance.ring.refresh()
    secrets.unavailable = True
    with pytest.raises(errors.Unavailable):
        await instance.ring.refresh()
    assert instance.sign()
    await instance.ring.check_fresh()
    clock.pass_by(timedelta(minutes=5))
    with pytest.raises(errors.Unavailable):
        await instance.ring.check_fresh()
    assert instance.sign()
    secrets.unavailable = False
    await instance.ring.refresh()
    await instance.ring.check_fresh()


async def test_the_loop_continues_after_a_failure(clock: Clock) -> None:
    secrets = UnavailableSecrets()
    instance = Instance(secrets, clock)
    await instance.ring.refresh()
    seen = asyncio.Event()

    class FailingOnce(UnavailableSecrets):
        reads = 0

        async def read(self, name: str) -> Secret | None:
            FailingOnce.reads += 1
            if FailingOnce.reads == 1:
                raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
            seen.set()
            return await secrets.read(name)

    ring = KeyRing(FailingOnce(), SCHEDULE, generate_signing_key, clock)
    task = asyncio.create_task(ring.run(timedelta(milliseconds=1)))
    async with asyncio.timeout(10):
        await seen.wait()
    task.cancel()
    await asyncio.wait([task])


async def test_a_delayed_response_does_not_restore_old_keys(secrets: MemorySecrets, clock: Clock) -> None:
    class Slow(MemorySecrets):
        """Secrets whose next response is delayed."""

        hold: asyncio.Event | None = None

        async def read(self, name: str) -> Secret | None:
            found, hold = await secrets.read(name), self.hold
            if hold is not None:
                self.hold = None
                await hold.wait()
            return found

        async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
            return await secrets.write(name, value, replaces_version)

    slow = Slow()
    ring = KeyRing(slow, SCHEDULE, generate_signing_key, clock)
    await ring.refresh()
    slow.hold = held = asyncio.Event()
    refreshing = asyncio.create_task(ring.refresh())
    await asyncio.sleep(0)
    made = await ring.rotate()
    held.set()
    await refreshing
    assert ring.key_set.keys[-1] == made


async def test_only_an_administrator_rotates_keys(
    context: Context, keys: KeyRing, people: People, audit: AuditRecording
) -> None:
    await people.add("root", "user.admin")
    await people.add("ada", "video.process")
    root, ada = await people.sign_in("root"), await people.sign_in("ada")
    for other in (ada, replace(ada, session_id="ses_none"), Actor(root.account_id, "", root.client)):
        with pytest.raises((errors.PermissionDenied, errors.Unauthenticated)):
            await rotate_signing_key(context, keys, other)
    assert len(keys.key_set.keys) == 1
    made = await rotate_signing_key(context, keys, root)
    assert made in keys.key_set.keys
    assert audit.results("signing_key.rotate") == ["ROLE_MISSING", "TOKEN_INVALID", "TOKEN_INVALID", "OK"]
    assert "PRIVATE" not in repr(made) + repr(keys.key_set) + str(audit.events)
