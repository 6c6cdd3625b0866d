"""The audit trail: rows are added, and neither changed nor taken away."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

AUDIT = """
CREATE TABLE audit (
    id text PRIMARY KEY,
    at bigint NOT NULL,
    who text NOT NULL,
    roles text[] NOT NULL,
    what text NOT NULL,
    target text NOT NULL,
    outcome text NOT NULL,
    status integer NOT NULL,
    request_id text NOT NULL,
    detail text NOT NULL,
    before jsonb NOT NULL,
    after jsonb NOT NULL
);
COMMENT ON TABLE audit IS 'Acts of operators and admins, and denied ones; append-only. Times in ms since the epoch, UTC.';
CREATE INDEX audit_at ON audit (at, id);
CREATE INDEX audit_who ON audit (who, at);
CREATE INDEX audit_target ON audit (target, at);
"""

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.execute(AUDIT)
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    op.execute("DROP TABLE audit")
    op.execute("DROP FUNCTION refuse_change")
