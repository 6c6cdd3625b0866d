"""How waits and runs are spread, so that the planner knows whether a search by them finds few tasks or many."""

from alembic import op

from pointsman.services.history.migrations.versions import r0002_search

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MEASURES = {"waited": r0002_search.WAIT, "ran": r0002_search.RAN}

NAME = "tasks_{name}_spread"

EXISTING_DAYS = """
DO $do$ DECLARE part text; BEGIN
    FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'tasks'::regclass LOOP
        {statements}
        EXECUTE format('ANALYZE %s', part);
    END LOOP;
END $do$;
"""

DROP = """
DO $do$ DECLARE name text; BEGIN
    FOR name IN SELECT stxname FROM pg_statistic_ext WHERE stxrelid = 'tasks'::regclass
        OR stxrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tasks'::regclass) LOOP
        EXECUTE format('DROP STATISTICS %I', name);
    END LOOP;
END $do$;
"""


def upgrade() -> None:
    """Days to come take the statistics of the parent over, like its indexes."""
    for name, measure in MEASURES.items():
        op.execute(f"CREATE STATISTICS {NAME.format(name=name)} ON {measure} FROM tasks")
    statements = " ".join(
        f"EXECUTE format('CREATE STATISTICS %I ON {measure} FROM %s', part || '_{name}_spread', part);"
        for name, measure in MEASURES.items()
    )
    op.execute(EXISTING_DAYS.format(statements=statements))


def downgrade() -> None:
    op.execute(DROP)
