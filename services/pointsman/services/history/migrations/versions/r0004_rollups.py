"""Rollups: counts and sketches per minute, hour and day, kept equal to the tables whoever writes these.

Triggers note what each statement adds and takes away in `uncounted`, in its own transaction. `fold_uncounted` moves
notes into `rollups`. What both hold together is at every moment what a recount of `tasks` and `attempts` would give.
"""

from alembic import op

from pointsman.services.history.migrations.versions import r0001_archive

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GAMMA_LN = "0.020000666706669435"
"""ln(1.01 / 0.99): buckets of a logarithmic mapping with 1 % relative accuracy."""

WAITED = "CASE WHEN started_at IS NOT NULL AND generation = 1 THEN GREATEST(started_at - GREATEST(created_at, run_at), 0) END"
"""What was retried by hand waited since then, and nobody wrote down when that was."""
RAN = "CASE WHEN started_at IS NOT NULL THEN GREATEST(finished_at - started_at, 0) END"
OUTCOMES = "CASE outcome WHEN 'succeeded' THEN 'COMPLETED' WHEN 'failed' THEN 'FAILED' ELSE 'TIMEOUT' END"
OUTCOMES_COUNTED = "outcome IN ('succeeded', 'failed', 'timed-out')"
COUNTS = {
    "created": "event = 'created'",
    "completed": "event = 'COMPLETED'",
    "failed": "event = 'FAILED'",
    "timed_out": "event = 'TIMEOUT'",
    "cancelled": "event = 'CANCELLED'",
    "retried": "retried",
}
SUMS = (*COUNTS, "ran_ms", "waited_ms")
SKETCHES = ("ran", "waited")

TABLES = f"""
CREATE FUNCTION duration_bucket(ms bigint) RETURNS smallint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN ms < 1 THEN -1 ELSE ceil(ln(ms::float8) / {GAMMA_LN}::float8) END::smallint
$$;
COMMENT ON FUNCTION duration_bucket IS 'Bucket of a duration, within 1 % of all others in it; -1 holds 0 ms.';

CREATE TABLE uncounted (
    at bigint NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    event text NOT NULL,
    retried boolean NOT NULL,
    ran bigint,
    waited bigint,
    n smallint NOT NULL
);
COMMENT ON TABLE uncounted IS 'What came to (n = 1) or left (-1) tasks and attempts since the rollups were last folded.';

CREATE TABLE rollups (
    kind text NOT NULL,
    width integer NOT NULL,
    at bigint NOT NULL,
    name text NOT NULL,
    {", ".join(f"{name} bigint NOT NULL" for name in SUMS)},
    {", ".join(f"{name}_buckets smallint[] NOT NULL, {name}_counts integer[] NOT NULL" for name in SKETCHES)},
    PRIMARY KEY (kind, width, at, name)
);
COMMENT ON TABLE rollups IS
    'Per minute (totals only), hour and day (width in minutes, UTC; at in ms): all tasks, a type''s, a server''s attempts.';
"""


def of_tasks(table: str, n: int) -> str:
    return f"{_accepted(table, n)} UNION ALL {_ended(table, n)}"


def _accepted(table: str, n: int) -> str:
    return (
        "SELECT created_at AS at, 'type' AS kind, type AS name, 'created' AS event, false AS retried,"  # noqa: S608
        f" NULL::bigint AS ran, NULL::bigint AS waited, {n}::smallint AS n FROM {table}"
    )


def _ended(table: str, n: int) -> str:
    return (
        f"SELECT finished_at AS at, 'type' AS kind, type AS name, status AS event,"  # noqa: S608
        f" attempts > 1 OR generation > 1 AS retried, {RAN} AS ran, {WAITED} AS waited, {n}::smallint AS n"
        f" FROM {table} WHERE finished_at IS NOT NULL"
    )


def of_attempts(table: str, n: int) -> str:
    return (
        f"SELECT finished_at AS at, 'server' AS kind, server_id AS name, {OUTCOMES} AS event, false AS retried,"  # noqa: S608
        f" GREATEST(finished_at - started_at, 0) AS ran, NULL::bigint AS waited, {n}::smallint AS n"
        f" FROM {table} WHERE {OUTCOMES_COUNTED}"
    )


ANOTHER_TYPE = """
UNION ALL SELECT one.created_at, 'type', one.type, 'created', false, NULL, NULL, -1::smallint
    FROM was AS one JOIN fresh USING (id, created_at) WHERE fresh.type <> one.type
UNION ALL SELECT fresh.created_at, 'type', fresh.type, 'created', false, NULL, NULL, 1::smallint
    FROM was AS one JOIN fresh USING (id, created_at) WHERE fresh.type <> one.type
"""
NOTES = {
    ("tasks", "INSERT"): of_tasks("fresh", 1),
    ("tasks", "UPDATE"): f"{_ended('was', -1)} UNION ALL {_ended('fresh', 1)} {ANOTHER_TYPE}",
    ("tasks", "DELETE"): of_tasks("was", -1),
    ("attempts", "INSERT"): of_attempts("fresh", 1),
    ("attempts", "UPDATE"): f"{of_attempts('was', -1)} UNION ALL {of_attempts('fresh', 1)}",
    ("attempts", "DELETE"): of_attempts("was", -1),
}
SEEN = {"INSERT": "NEW TABLE AS fresh", "UPDATE": "OLD TABLE AS was NEW TABLE AS fresh", "DELETE": "OLD TABLE AS was"}


def trigger(table: str, act: str, notes: str) -> str:
    name = f"note_{table}_{act.lower()}"
    return f"""
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO uncounted {notes};
    RETURN NULL;
END $$;
CREATE TRIGGER {name} AFTER {act} ON {table} REFERENCING {SEEN[act]} FOR EACH STATEMENT EXECUTE FUNCTION {name}();
"""


PLACES = """
    CROSS JOIN (VALUES (1), (60), (1440)) AS one (width)
    CROSS JOIN (VALUES (true), (false)) AS two (is_all)
WHERE NOT (is_all AND kind = 'server') AND (width > 1 OR is_all)
"""
PLACE = (
    "CASE WHEN is_all THEN 'all' ELSE kind END AS kind, width, at - at % (width * 60000::bigint) AS at,"
    " CASE WHEN is_all THEN '' ELSE name END AS name"
)


def _merged(name: str) -> str:
    buckets, counts = f"{name}_buckets", f"{name}_counts"
    return f"""
    ({buckets}, {counts}) = (
        SELECT COALESCE(array_agg(bucket ORDER BY bucket), '{{}}'), COALESCE(array_agg(n ORDER BY bucket), '{{}}')
        FROM (
            SELECT bucket, sum(n)::integer AS n FROM (
                SELECT * FROM unnest(r.{buckets}, r.{counts})
                UNION ALL SELECT * FROM unnest(excluded.{buckets}, excluded.{counts})
            ) AS both_of (bucket, n) GROUP BY bucket HAVING sum(n) <> 0
        ) AS merged
    )"""  # noqa: S608


def _arrays(name: str) -> str:
    return (
        f"COALESCE(array_agg(bucket ORDER BY bucket) FILTER (WHERE sketch = '{name}'), '{{}}') AS {name}_buckets,"
        f" COALESCE(array_agg(n ORDER BY bucket) FILTER (WHERE sketch = '{name}'), '{{}}') AS {name}_counts"
    )


COLUMNS = (*SUMS, *(f"{name}_{part}" for name in SKETCHES for part in ("buckets", "counts")))
ADD = f"""
minutes AS (
    SELECT at - at % 60000 AS at, kind, name,
        {", ".join(f"COALESCE(sum(n) FILTER (WHERE {what}), 0) AS {name}" for name, what in COUNTS.items())},
        COALESCE(sum(n * ran), 0) AS ran_ms, COALESCE(sum(n * waited), 0) AS waited_ms
    FROM source GROUP BY 1, 2, 3
), durations AS (
    SELECT at - at % 3600000 AS at, kind, name, sketch, bucket, sum(n) AS n FROM (
        {
    " UNION ALL ".join(
        f"SELECT at, kind, name, '{name}' AS sketch, duration_bucket({name}) AS bucket, n"
        f" FROM source WHERE {name} IS NOT NULL"
        for name in SKETCHES
    )
}
    ) AS each GROUP BY 1, 2, 3, 4, 5
), counts AS (
    SELECT {PLACE}, {", ".join(f"sum({name}) AS {name}" for name in SUMS)}
    FROM minutes {PLACES} GROUP BY 1, 2, 3, 4
), sketches AS (
    SELECT kind, width, at, name, {", ".join(_arrays(name) for name in SKETCHES)} FROM (
        SELECT {PLACE}, sketch, bucket, sum(n)::integer AS n
        FROM durations {PLACES} AND width > 1 GROUP BY 1, 2, 3, 4, 5, 6
    ) AS placed GROUP BY 1, 2, 3, 4
), added AS (
    INSERT INTO rollups AS r (kind, width, at, name, {", ".join(COLUMNS)})
    SELECT kind, width, at, name, {", ".join(SUMS)},
        {", ".join(f"COALESCE({name}, '{{}}')" for name in COLUMNS[len(SUMS) :])}
    FROM counts LEFT JOIN sketches USING (kind, width, at, name) ORDER BY 1, 2, 3, 4
    ON CONFLICT (kind, width, at, name) DO UPDATE SET
        {", ".join(f"{name} = r.{name} + excluded.{name}" for name in SUMS)},
        {", ".join(_merged(name) for name in SKETCHES)}
)
"""  # noqa: S608
ATTRIBUTES = "LANGUAGE plpgsql SET enable_nestloop = off SET jit = off SET work_mem = '32MB'"
LOCK = "hashtext('pointsman rollups')"

FOLD = f"""
CREATE FUNCTION fold_uncounted(most integer) RETURNS integer {ATTRIBUTES} AS $$
DECLARE
    taken integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock({LOCK}) THEN
        RETURN 0;
    END IF;
    WITH source AS MATERIALIZED (
        DELETE FROM uncounted WHERE ctid = ANY (ARRAY(SELECT ctid FROM uncounted LIMIT most)) RETURNING *
    ), {ADD}
    SELECT count(*) INTO taken FROM source;
    RETURN taken;
END $$;
COMMENT ON FUNCTION fold_uncounted IS 'Move so many notes into the rollups; returns how many, 0 while another does it.';
"""  # noqa: S608

ADD_FORMAT = ADD.replace("%", "%%")

RECOUNT = f"""
CREATE FUNCTION recount_rollups() RETURNS void {ATTRIBUTES} AS $$
DECLARE
    part regclass;
BEGIN
    LOCK TABLE tasks, attempts IN SHARE MODE;
    PERFORM pg_advisory_xact_lock({LOCK});
    DELETE FROM uncounted;
    DELETE FROM rollups;
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tasks'::regclass ORDER BY 1 LOOP
        EXECUTE format($sql$ WITH source AS MATERIALIZED ({of_tasks("%1$s", 1)}), {ADD_FORMAT} SELECT $sql$, part);
    END LOOP;
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'attempts'::regclass ORDER BY 1 LOOP
        EXECUTE format($sql$ WITH source AS MATERIALIZED ({of_attempts("%1$s", 1)}), {ADD_FORMAT} SELECT $sql$, part);
    END LOOP;
END $$;
COMMENT ON FUNCTION recount_rollups IS 'Make all rollups anew from the tables, a day at a time; writers wait.';
"""  # noqa: S608

DROP_DAYS_BEFORE = f"""
CREATE OR REPLACE FUNCTION drop_days_before(parent regclass, day integer) RETURNS SETOF text {ATTRIBUTES} AS $$
DECLARE
    first bigint := day * 86400000::bigint;
    oldest text := parent::text || '_' || to_char(to_timestamp(day * 86400::bigint) AT TIME ZONE 'UTC', 'YYYYMMDD');
    part text;
BEGIN
    FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = parent ORDER BY 1 LOOP
        CONTINUE WHEN part >= oldest;
        EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent);
        EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', part);
        PERFORM pg_advisory_xact_lock({LOCK});
        IF parent = 'tasks'::regclass THEN
            EXECUTE format($sql$ WITH source AS MATERIALIZED ({_ended("%1$s", -1)} AND finished_at >= $1), {ADD_FORMAT}
                SELECT $sql$, part) USING first;
        END IF;
        IF parent IN ('tasks'::regclass, 'attempts'::regclass) THEN
            DELETE FROM rollups WHERE at < first AND (kind = 'server') = (parent = 'attempts'::regclass);
            DELETE FROM uncounted WHERE at < first AND (kind = 'server') = (parent = 'attempts'::regclass);
        END IF;
        EXECUTE format('DROP TABLE %s', part);
        RETURN NEXT part;
    END LOOP;
END $$;
COMMENT ON FUNCTION drop_days_before IS 'Drop the partitions of all days before this one; returns their names.';
"""  # noqa: S608

VIEWS = f"""
CREATE VIEW counted_tasks AS {of_tasks("tasks", 1)};
COMMENT ON VIEW counted_tasks IS 'What each task counts for: its acceptance, and its end.';
CREATE VIEW counted_attempts AS {of_attempts("attempts", 1)};
COMMENT ON VIEW counted_attempts IS 'What each attempt counts for: lost and cancelled ones say nothing of a server.';
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(VIEWS)
    op.execute(FOLD)
    op.execute(RECOUNT)
    op.execute(DROP_DAYS_BEFORE)
    op.execute("UPDATE tasks SET finished_at = created_at WHERE finished_at < created_at")
    op.execute("SELECT recount_rollups()")
    for (table, act), notes in NOTES.items():
        op.execute(trigger(table, act, notes))


def downgrade() -> None:
    for table, act in NOTES:
        op.execute(f"DROP TRIGGER note_{table}_{act.lower()} ON {table}; DROP FUNCTION note_{table}_{act.lower()};")
    op.execute("DROP FUNCTION fold_uncounted; DROP FUNCTION recount_rollups; DROP FUNCTION drop_days_before;")
    op.execute("DROP VIEW counted_tasks; DROP VIEW counted_attempts;")
    op.execute("DROP TABLE rollups; DROP TABLE uncounted; DROP FUNCTION duration_bucket;")
    op.execute(r0001_archive.DROP_DAYS_BEFORE)
