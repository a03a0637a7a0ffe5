"""Keys that sign tokens: which one signs, which are listed, and how instances agree on them."""

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
    """An instance of the service, which looks at the keys when it is told to."""

    def __init__(self, kept: MemorySecrets, clock: Clock) -> None:
        self.clock = clock
        self.ring = KeyRing(kept, SCHEDULE, generate_signing_key, clock)
        self.tokens = JwtTokens(self.ring, "iss", "aud")

    def sign(self) -> str:
        return self.tokens.sign(SUBJECT, self.clock())

    def listed(self) -> dict[str, jwt.PyJWK]:
        return {key["kid"]: jwt.PyJWK(key) for key in self.tokens.public_keys(self.clock())}


@pytest.fixture
def kept() -> MemorySecrets:
    return MemorySecrets()


@pytest.fixture
async def instances(kept: MemorySecrets, clock: Clock) -> list[Instance]:
    found = [Instance(kept, clock) for _ in range(3)]
    await asyncio.gather(*(instance.ring.refresh() for instance in found))
    return found


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def good(token: str, listed: dict[str, jwt.PyJWK], clock: Clock) -> bool:
    """Whether a list of keys is enough for a token, at the time of the clock."""
    if kid(token) not in listed:
        return False
    options: dict[str, bool] = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(
        token,
        listed[kid(token)],
        algorithms=["ES256"],
        audience="aud",
        options=options,  # type: ignore[arg-type]
    )
    return bool(clock().timestamp() < claims["exp"])


async def test_instances_that_start_at_once_have_one_key(instances: list[Instance], kept: MemorySecrets) -> None:
    assert len(kept.values[SECRET_NAME]) == 1
    assert len({kid(instance.sign()) for instance in instances}) == 1
    assert all(len(instance.listed()) == 1 for instance in instances)


async def test_a_new_key_is_listed_before_it_signs_and_an_old_one_after(
    instances: list[Instance], clock: Clock
) -> None:
    first, *_ = instances
    old = kid(first.sign())
    made = await first.ring.rotate()
    new = first.tokens.key_id(made.pem)
    assert made.sign_time == START + timedelta(minutes=5)
    assert (kid(first.sign()), set(first.listed())) == (old, {old, new})
    clock.pass_by(timedelta(minutes=5) - timedelta(microseconds=1))
    last = first.sign()
    assert kid(last) == old
    clock.pass_by(timedelta(microseconds=1))
    assert (kid(first.sign()), set(first.listed())) == (new, {old, new})
    clock.pass_by(ACCESS_TOKEN_LIFETIME + timedelta(minutes=5) - timedelta(microseconds=1))
    assert set(first.listed()) == {old, new}
    clock.pass_by(timedelta(microseconds=1))
    assert set(first.listed()) == {new}
    assert not good(last, first.listed(), clock)


async def test_while_a_key_waits_no_other_is_made(instances: list[Instance], clock: Clock) -> None:
    made = await asyncio.gather(*(instance.ring.rotate() for instance in instances * 3))
    assert len({key.pem for key in made}) == 1
    clock.pass_by(timedelta(minutes=5))
    assert (await instances[0].ring.rotate()).pem != made[0].pem


async def test_keys_are_replaced_by_age_once(instances: list[Instance], kept: MemorySecrets, clock: Clock) -> None:
    clock.pass_by(timedelta(days=30) - timedelta(seconds=1))
    await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(kept.values[SECRET_NAME]) == 1
    clock.pass_by(timedelta(seconds=1))
    for _ in range(3):
        await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(kept.values[SECRET_NAME]) == 2
    # Keys that are of no use any more are not kept for ever.
    for _ in range(5):
        clock.pass_by(timedelta(days=31))
        await asyncio.gather(*(instance.ring.refresh() for instance in instances))
    assert len(json.loads(kept.values[SECRET_NAME][-1])["keys"]) == 2


async def test_through_many_rotations_no_list_that_is_remembered_lacks_a_key(
    instances: list[Instance], clock: Clock
) -> None:
    """Instances look once a minute; gateway and services remember the list of any of them for two minutes."""

    def listed(instance: Instance) -> set[bytes]:
        return {key.pem for key in instance.ring.key_set.published(SCHEDULE, clock())}

    remembered = [listed(instance) for instance in instances]
    alive: list[tuple[datetime, bytes]] = []
    signed: list[bytes] = []
    # Every 20 seconds, for four hours.
    for moment in range(720):
        if moment % 50 == 7:
            await instances[moment % 3].ring.rotate()
        await instances[moment % 3].ring.refresh()
        if moment % 2 == 0:
            remembered[moment // 2 % 3] = listed(instances[(moment // 6 + moment) % 3])
        alive = [token for token in alive if clock() < token[0]]
        for instance in instances:
            signed.append(instance.ring.key_set.find_signer(clock()).pem)
            alive.append((clock() + ACCESS_TOKEN_LIFETIME, signed[-1]))
        assert {pem for _, pem in alive} <= set.intersection(*remembered)
        clock.pass_by(timedelta(seconds=20))
    # Nobody went back to an old key, and there were as many as were made.
    order = list(dict.fromkeys(signed))
    assert signed == sorted(signed, key=order.index)
    assert len(order) == 15


async def test_a_key_of_the_first_versions_signs_on_until_the_next_one_does(kept: MemorySecrets, clock: Clock) -> None:
    old = generate_signing_key()
    await kept.write(SECRET_NAME, old, 0)
    instance = Instance(kept, clock)
    await instance.ring.refresh()
    assert kid(instance.sign()) == instance.tokens.key_id(old)
    assert len(instance.listed()) == 2
    clock.pass_by(timedelta(minutes=5))
    assert kid(instance.sign()) != instance.tokens.key_id(old)


@pytest.mark.parametrize(
    "value", [b"", b"x", b"{}", b'{"keys": []}', b'{"keys": [{"pem": 1}]}', b"[1]", b'{"keys": 1}']
)
async def test_a_secret_that_holds_no_keys_is_an_error(kept: MemorySecrets, clock: Clock, value: bytes) -> None:
    await kept.write(SECRET_NAME, value, 0)
    with pytest.raises(errors.DataLoss):
        await Instance(kept, clock).ring.refresh()


async def test_a_key_that_is_none_stops_the_start(kept: MemorySecrets, clock: Clock) -> None:
    instance = Instance(kept, clock)
    await kept.write(SECRET_NAME, b"-----BEGIN nothing", 0)
    await instance.ring.refresh()
    with pytest.raises(ConfigError, match="no private key"):
        instance.tokens.public_keys(clock())


class AwaySecrets(MemorySecrets):
    """Secrets that can be out of reach."""

    away = False

    async def read(self, name: str) -> Secret | None:
        if self.away:
            raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
        return await super().read(name)


async def test_without_the_config_service_the_known_keys_sign_on_and_health_tells(clock: Clock) -> None:
    kept = AwaySecrets()
    instance = Instance(kept, clock)
    await instance.ring.refresh()
    kept.away = True
    with pytest.raises(errors.Unavailable):
        await instance.ring.refresh()
    assert instance.sign()
    await instance.ring.check_fresh()
    clock.pass_by(timedelta(minutes=5))
    with pytest.raises(errors.Unavailable):
        await instance.ring.check_fresh()
    assert instance.sign()
    kept.away = False
    await instance.ring.refresh()
    await instance.ring.check_fresh()


async def test_the_loop_goes_on_after_a_failure(clock: Clock) -> None:
    kept = AwaySecrets()
    instance = Instance(kept, clock)
    await instance.ring.refresh()
    seen = asyncio.Event()

    class Noticing(AwaySecrets):
        reads = 0

        async def read(self, name: str) -> Secret | None:
            Noticing.reads += 1
            if Noticing.reads == 1:
                raise errors.Unavailable("away", reason="SERVICE_UNAVAILABLE")
            seen.set()
            return await kept.read(name)

    ring = KeyRing(Noticing(), SCHEDULE, generate_signing_key, clock)
    task = asyncio.create_task(ring.run(timedelta(milliseconds=1)))
    async with asyncio.timeout(10):
        await seen.wait()
    task.cancel()
    await asyncio.wait([task])


async def test_an_old_answer_does_not_bring_old_keys_back(kept: MemorySecrets, clock: Clock) -> None:
    class Slow(MemorySecrets):
        """Whose next answer is held until it is let go."""

        hold: asyncio.Event | None = None

        async def read(self, name: str) -> Secret | None:
            found, hold = await kept.read(name), self.hold
            if hold is not None:
                self.hold = None
                await hold.wait()
            return found

        async def write(self, name: str, value: bytes, replaces_version: int) -> Secret:
            return await kept.write(name, value, replaces_version)

    slow = Slow()
    ring = KeyRing(slow, SCHEDULE, generate_signing_key, clock)
    await ring.refresh()
    slow.hold = held = asyncio.Event()
    looking = asyncio.create_task(ring.refresh())
    await asyncio.sleep(0)
    made = await ring.rotate()
    held.set()
    await looking
    assert ring.key_set.keys[-1] == made


async def test_only_an_administrator_rotates(
    context: Context, keys: KeyRing, people: People, audit: AuditRecording
) -> None:
    await people.add("root", "user.admin")
    await people.add("ada", "video.process")
    root, ada = await people.sign_in("root"), await people.sign_in("ada")
    for who in (ada, replace(ada, session_id="ses_none"), Actor(root.account_id, "", root.client)):
        with pytest.raises((errors.PermissionDenied, errors.Unauthenticated)):
            await rotate_signing_key(context, keys, who)
    assert len(keys.key_set.keys) == 1
    made = await rotate_signing_key(context, keys, root)
    assert made in keys.key_set.keys
    assert audit.results("signing_key.rotate") == ["ROLE_MISSING", "TOKEN_INVALID", "TOKEN_INVALID", "OK"]
    assert "PRIVATE" not in repr(made) + repr(keys.key_set) + str(audit.events)
