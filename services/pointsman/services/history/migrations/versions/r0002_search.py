"""What search needs: labels and payload values of each task, indexes for the filters; every transition of a task."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FACETS = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
ALTER TABLE tasks ADD COLUMN facets text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN tasks.facets IS 'lNAME=VALUE per label, pPATH=VALUE per value of the payload.';
UPDATE tasks SET facets = ARRAY(SELECT 'l' || name || '=' || value FROM jsonb_each_text(labels) AS one(name, value))
WHERE labels <> '{}';
"""

WAIT = "(CASE WHEN started_at IS NOT NULL THEN GREATEST(started_at - GREATEST(created_at, run_at), 0) END)"
RAN = "(CASE WHEN started_at IS NOT NULL THEN finished_at - started_at END)"
INDEXES = {
    "tasks_type": "(type, created_at)",
    "tasks_server": "(server_id, created_at) WHERE server_id IS NOT NULL",
    "tasks_status": "(status, created_at) WHERE status NOT IN ('COMPLETED', 'PENDING')",
    "tasks_facets": "USING gin (facets)",
    "tasks_error": "USING gin (error gin_trgm_ops) WHERE error IS NOT NULL",
    "tasks_error_code": "(error_code, created_at) WHERE error_code IS NOT NULL",
    "tasks_retried": "(created_at) WHERE attempts > 1",
    "tasks_waited": f"({WAIT}) WHERE {WAIT} > 1000",
    "tasks_ran": f"({RAN}) WHERE {RAN} > 10000",
}

TRANSITIONS = """
CREATE TABLE transitions (
    task_id text NOT NULL,
    created_at bigint NOT NULL,
    generation integer NOT NULL,
    status text NOT NULL,
    at bigint NOT NULL,
    server_id text,
    error_code text,
    PRIMARY KEY (task_id, generation, status, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE transitions IS 'Acceptance and end of each generation of a task; created_at is that of the task.';
"""

COPY_DAYS = """
DO $$ DECLARE day integer; BEGIN
    FOR day IN SELECT DISTINCT (created_at / 86400000)::integer FROM tasks LOOP
        PERFORM ensure_day('transitions'::regclass, day);
    END LOOP;
END $$;
INSERT INTO transitions SELECT id, created_at, generation, status, COALESCE(finished_at, created_at), server_id, error_code
FROM tasks;
"""


def upgrade() -> None:
    op.execute(FACETS)
    for name, columns in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON tasks {columns}")
    op.execute(TRANSITIONS)
    op.execute(COPY_DAYS)


def downgrade() -> None:
    op.execute("DROP TABLE transitions")
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
    op.execute("ALTER TABLE tasks DROP COLUMN facets")
