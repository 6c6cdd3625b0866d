"""Unregistering the servers of a plan, one after the other."""

from msgspec.structs import replace

from pointsman.client.client import Client
from pointsman.contracts.bulk import Change, MaintainedServer, MaintainManyAnswer, MaintainManyRequest
from pointsman.contracts.errors import PointsmanError


async def remove(client: Client, request: MaintainManyRequest, *, drain: bool) -> MaintainManyAnswer:
    """The plan with what became of each server; one that does not exist or match has failed."""
    planned = await client.servers.maintain_many(replace(request, dry_run=True))
    servers = tuple([await _removed(client, server, drain=drain) for server in planned.servers])
    changed, failed = (sum(server.done is done for server in servers) for done in (True, False))
    return replace(planned, dry_run=False, servers=servers, changed=changed, failed=failed)


async def _removed(client: Client, server: MaintainedServer, *, drain: bool) -> MaintainedServer:
    if server.status is None:
        return replace(server, done=False)
    try:
        await client.servers.unregister(server.server_id, drain=drain)
    except PointsmanError as error:
        return replace(server, done=False, error=error.detail)
    return replace(server, change=Change.REMOVE, done=True, error=None)
