"""Register, replace and remove a server: the order of the writes, and who wins when two do it at once."""

import base64
import secrets
from dataclasses import dataclass

from msgspec.structs import replace

from pointsman.contracts.commands import RegisterServer, RotateCredential
from pointsman.contracts.errors import conflict, not_found, precondition_failed, unavailable
from pointsman.contracts.ids import new_server_id
from pointsman.contracts.server import CredentialAnswer, RegisterAnswer, ServerConfig, ServerRequest, ServerSecret
from pointsman.services.registry import rules
from pointsman.services.registry.guard import ANY, Guard, revision_of
from pointsman.services.registry.store import ROUNDS_MAX, ServerStore, Stored
from pointsman.services.runtime import tls
from pointsman.services.runtime.clock import Clock
from pointsman.services.runtime.egress import EgressPolicy
from pointsman.services.runtime.kv import RevisionMoved

REGISTERED = "Server registered successfully"
ROTATED = "Credential and signing secret rotated"
CREDENTIAL_BYTES = 32
SIGNING_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class Registered:
    answer: RegisterAnswer
    status: int
    revision: int


class Registration:
    def __init__(self, store: ServerStore, policy: EgressPolicy, clock: Clock) -> None:
        self._store = store
        self._policy = policy
        self._clock = clock

    async def register(self, command: RegisterServer, by: str) -> Registered:
        request = command.server
        server_id = request.id or new_server_id()
        asked = rules.config_of(request, server_id, self._clock.now_ms(), by)
        rules.check_egress(asked, request, self._policy)
        if request.tls is not None:
            tls.check(request.tls, asked.predict)
        for _ in range(ROUNDS_MAX):
            try:
                return await self._register(asked, request, command.if_match)
            except RevisionMoved:
                continue
        raise unavailable(f"server {server_id} is being registered by others at this moment")

    async def _register(self, asked: ServerConfig, request: ServerRequest, if_match: int | None) -> Registered:
        stored = await self._store.config(asked.id)
        admin = await self._store.admin(asked.id)
        Guard(if_match).check(asked.id, stored, admin)
        if stored.value is None:
            return await self._create(asked, request, stored.revision)
        secret = await self._store.secret(asked.id)
        if rules.is_same_secret(secret.value, request) and rules.is_same(stored.value, asked):
            return _registered(asked.id, 200, revision_of(stored, admin))
        if if_match is None:
            raise conflict(f"server {asked.id} is registered with another configuration; If-Match replaces it")
        return await self._replace(asked, request, stored.revision, secret)

    async def _create(self, config: ServerConfig, request: ServerRequest, revision: int) -> Registered:
        """Secret first, configuration last: nobody ever sees a server without its key."""
        credential = new_credential()
        secret = ServerSecret(
            api_key=request.api_key,
            credential_hash=rules.hashed(credential),
            signing_secret=new_signing_secret(),
            tls=request.tls,
        )
        await self._store.forget_orders(config.id)
        left_over = await self._store.secret(config.id)
        secret_revision = await self._store.put_secret(config.id, secret, left_over.revision)
        try:
            revision = await self._store.put_config(config, revision)
        except RevisionMoved:
            await self._give_back(config.id, left_over, secret_revision)
            raise
        answer = RegisterAnswer(
            server_id=config.id, message=REGISTERED, credential=credential, signing_secret=secret.signing_secret
        )
        return Registered(answer, 201, revision)

    async def _give_back(self, server_id: str, left_over: Stored[ServerSecret], secret_revision: int) -> None:
        """Somebody else registered the id: the secret that was there before is theirs."""
        if left_over.value is not None:
            await self._store.put_secret(server_id, left_over.value, secret_revision)

    async def _replace(
        self, config: ServerConfig, request: ServerRequest, revision: int, secret: Stored[ServerSecret]
    ) -> Registered:
        """The credential and the signing secret stay; the server is probed anew before it gets tasks."""
        if secret.value is not None and not rules.is_same_secret(secret.value, request):
            asked = replace(secret.value, api_key=request.api_key, tls=request.tls)
            await self._store.put_secret(config.id, asked, secret.revision)
        try:
            return _registered(config.id, 200, await self._store.put_config(config, revision))
        except RevisionMoved:
            raise precondition_failed(f"server {config.id} was changed at the same moment") from None

    async def rotate(self, command: RotateCredential) -> CredentialAnswer:
        """New credential and signing secret, shown this once; raises 404."""
        credential, signing_secret = new_credential(), new_signing_secret()
        until = self._clock.now_ms() + command.rotation.grace_ms
        for _ in range(ROUNDS_MAX):
            config, secret = await self._store.config(command.id), await self._store.secret(command.id)
            if config.value is None or secret.value is None:
                raise not_found(f"server {command.id} does not exist")
            try:
                wanted = rules.rotated(secret.value, credential, signing_secret, until=until)
                await self._store.put_secret(command.id, wanted, secret.revision)
            except RevisionMoved:
                continue
            return CredentialAnswer(
                server_id=command.id,
                message=ROTATED,
                credential=credential,
                signing_secret=signing_secret,
                previous_until=until,
            )
        raise unavailable(f"server {command.id} is being changed by others at this moment")

    async def remove(self, server_id: str, guard: Guard = ANY) -> None:
        """Raises 404, 412."""
        for _ in range(ROUNDS_MAX):
            stored = await self._store.config(server_id)
            if stored.value is None:
                if guard.repeats(stored):
                    return None
                raise not_found(f"server {server_id} does not exist")
            if guard.seen is not None:
                guard.check(server_id, stored, await self._store.admin(server_id))
            try:
                return await self._store.delete(server_id, stored.revision, guard.operation)
            except RevisionMoved:
                continue
        raise unavailable(f"server {server_id} is being changed by others at this moment")


def _registered(server_id: str, status: int, revision: int) -> Registered:
    return Registered(RegisterAnswer(server_id=server_id, message=REGISTERED), status, revision)


def new_credential() -> str:
    return rules.CREDENTIAL_PREFIX + secrets.token_urlsafe(CREDENTIAL_BYTES)


def new_signing_secret() -> str:
    return rules.SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SIGNING_SECRET_BYTES)).decode()
