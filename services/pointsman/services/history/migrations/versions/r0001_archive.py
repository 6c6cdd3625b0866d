"""The archive: tasks by the day they were created, attempts by the day they ended, and what could not be kept."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TASKS = """
CREATE TABLE tasks (
    id text NOT NULL,
    created_at bigint NOT NULL,
    generation integer NOT NULL,
    revision bigint NOT NULL,
    status text NOT NULL,
    type text NOT NULL,
    owner text NOT NULL,
    pool text NOT NULL,
    priority smallint NOT NULL,
    server_id text,
    started_at bigint,
    finished_at bigint,
    run_at bigint,
    deadline bigint NOT NULL,
    attempts integer NOT NULL,
    error text,
    error_code text,
    labels jsonb NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (id, created_at)
) PARTITION BY RANGE (created_at);
COMMENT ON TABLE tasks IS 'One row per task, its last record. Times in ms since the epoch, UTC.';
CREATE INDEX tasks_created ON tasks (created_at, id);
CREATE INDEX tasks_finished ON tasks (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX tasks_owner ON tasks (owner, created_at);
CREATE INDEX tasks_open ON tasks (created_at) WHERE finished_at IS NULL;
"""

ATTEMPTS = """
CREATE TABLE attempts (
    task_id text NOT NULL,
    generation integer NOT NULL,
    number integer NOT NULL,
    server_id text NOT NULL,
    type text NOT NULL,
    started_at bigint NOT NULL,
    finished_at bigint NOT NULL,
    outcome text NOT NULL,
    http_status integer,
    error text,
    PRIMARY KEY (task_id, number, started_at, finished_at)
) PARTITION BY RANGE (finished_at);
COMMENT ON TABLE attempts IS 'One row per finished attempt. Times in ms since the epoch, UTC.';
CREATE INDEX attempts_server ON attempts (server_id, finished_at);
CREATE INDEX attempts_finished ON attempts (finished_at);
"""

DEAD_LETTERS = """
CREATE TABLE dead_letters (
    subject text NOT NULL,
    revision bigint NOT NULL,
    reason text NOT NULL,
    record bytea NOT NULL,
    at bigint NOT NULL,
    PRIMARY KEY (subject, revision)
);
COMMENT ON TABLE dead_letters IS 'Records that could not be archived, as they came.';
"""

ENSURE_DAY = """
CREATE FUNCTION ensure_day(parent regclass, day integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first bigint := day * 86400000::bigint;
    name text := parent::text || '_' || to_char(to_timestamp(day * 86400::bigint) AT TIME ZONE 'UTC', 'YYYYMMDD');
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('pointsman ensure_day'));
    IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE %s INCLUDING ALL)', name, parent);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
            parent, name, first, first + 86400000);
    END IF;
END $$;
COMMENT ON FUNCTION ensure_day IS 'Make the partition of a day, counted from the epoch, unless it exists.';
"""

DROP_DAYS_BEFORE = """
CREATE FUNCTION drop_days_before(parent regclass, day integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    oldest text := parent::text || '_' || to_char(to_timestamp(day * 86400::bigint) AT TIME ZONE 'UTC', 'YYYYMMDD');
    name text;
BEGIN
    FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = parent ORDER BY 1 LOOP
        IF name < oldest THEN
            EXECUTE format('DROP TABLE %s', name);
            RETURN NEXT name;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION drop_days_before IS 'Drop the partitions of all days before this one; returns their names.';
"""


def upgrade() -> None:
    for statement in (TASKS, ATTEMPTS, DEAD_LETTERS, ENSURE_DAY, DROP_DAYS_BEFORE):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION drop_days_before; DROP FUNCTION ensure_day;")
    op.execute("DROP TABLE dead_letters; DROP TABLE attempts; DROP TABLE tasks;")
