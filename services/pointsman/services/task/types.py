"""The declared task types, as the settings bucket has them: defaults and payload schemas, each compiled once."""

from dataclasses import dataclass, field

import structlog

from pointsman.contracts.base import is_null
from pointsman.contracts.errors import PointsmanError, invalid
from pointsman.contracts.limits import TypeSettings, in_force
from pointsman.services.runtime.payload_schema import PayloadSchema, compiled

log = structlog.get_logger()

NAMES_LISTED_MAX = 20


@dataclass(frozen=True, slots=True)
class Declared:
    """A type as submissions need it."""

    settings: TypeSettings
    schema: PayloadSchema | None = None


UNDECLARED = Declared(TypeSettings(type=""))


@dataclass(slots=True)
class Types:
    """`strict`: a type that is not declared is refused."""

    strict: bool
    _declared: dict[str, Declared] = field(default_factory=dict)

    def set(self, name: str, stored: TypeSettings | None) -> None:
        """What is stored under this name now."""
        settings = in_force(stored)
        if settings is None:
            self._declared.pop(name, None)
        else:
            self._declared[name] = Declared(settings, _schema_of(settings))

    def of(self, name: str) -> Declared:
        """Raises 400 that lists declared types when this one is not and must be."""
        declared = self._declared.get(name)
        if declared is None and self.strict:
            raise invalid("type", f"{name} is not declared; {self._listed()}")
        return declared or UNDECLARED

    def _listed(self) -> str:
        names = sorted(self._declared)
        if not names:
            return "no type is"
        more = f" and {len(names) - NAMES_LISTED_MAX} more" if len(names) > NAMES_LISTED_MAX else ""
        return f"declared: {', '.join(names[:NAMES_LISTED_MAX])}{more}"


def _schema_of(settings: TypeSettings) -> PayloadSchema | None:
    """None also for a schema that another version of Pointsman accepted and this one refuses."""
    if is_null(settings.schema):
        return None
    try:
        return compiled(bytes(settings.schema))
    except PointsmanError as error:
        log.error("payload schema not used", type=settings.type, error=error.detail)
        return None
