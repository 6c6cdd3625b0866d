"""Who may call what, in groups."""

from pointsman.contracts.actor import Role

ADMINS = frozenset({Role.ADMIN})
OPERATORS = ADMINS | {Role.OPERATOR}
SUBMITTERS = OPERATORS | {Role.USER}
FLEET_READERS = OPERATORS | {Role.VIEWER}
READERS = FLEET_READERS | {Role.USER}
