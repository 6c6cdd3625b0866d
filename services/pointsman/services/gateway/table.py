"""The one table of the API's routes: guards, handlers and the OpenAPI document are made from these rows."""

from pointsman.services.gateway.archive_table import ARCHIVE
from pointsman.services.gateway.route import Route
from pointsman.services.gateway.table_servers import SERVER_ROUTES
from pointsman.services.gateway.table_settings import SETTINGS
from pointsman.services.gateway.table_statistics import STATISTICS_ROUTES
from pointsman.services.gateway.table_tasks import TASK_ROUTES
from pointsman.services.gateway.table_view import VIEW

API: tuple[Route, ...] = (*TASK_ROUTES, *SERVER_ROUTES, *STATISTICS_ROUTES, *SETTINGS, *ARCHIVE, *VIEW)
