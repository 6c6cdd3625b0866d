"""The archive: drains HISTORY into Postgres, each record once, and finds records by id."""
