"""The Postgres database of events as this package needs it: planned partitions, ranges, and the own logs of runs.

What does not belong here: Dagster's other tables, which its storage makes itself.
"""

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from stockpick_assets.fine_partitions.plans import PlannedPartitions
from stockpick_assets.fine_partitions.range_events import RangeEvents

# Of the advisory locks this package takes; the other half of a lock says of what.
LOCKS = 1_179_668_045
RUN_LOGS = "run_logs"

# A row of a range has no step in the table, though it has one in its event: by that it is left out of the run's log.
_STATEMENTS = (
    f"CREATE SCHEMA IF NOT EXISTS {RUN_LOGS}",
    f"""
    CREATE OR REPLACE VIEW {RUN_LOGS}.event_logs AS SELECT * FROM event_logs
    WHERE step_key IS NOT NULL OR partition IS NULL OR run_id = ''
       OR dagster_event_type IS DISTINCT FROM 'ASSET_MATERIALIZATION'
    """,
    # The plan of several partitions goes when its run does, and so do the materializations.
    """
    CREATE OR REPLACE FUNCTION forget_planned_partitions() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        DELETE FROM planned_partitions WHERE event_id = old.id;
        IF old.partition IS NULL THEN
            DELETE FROM range_events WHERE run_id = old.run_id AND asset_key = old.asset_key;
        END IF;
        RETURN NULL;
    END
    $$
    """,
    "DROP TRIGGER IF EXISTS forget_planned_partitions ON event_logs",
    """
    CREATE TRIGGER forget_planned_partitions AFTER DELETE ON event_logs
    FOR EACH ROW WHEN (old.dagster_event_type = 'ASSET_MATERIALIZATION_PLANNED')
    EXECUTE FUNCTION forget_planned_partitions()
    """,
)


def prepare(connection: Connection) -> None:
    """Make what is missing, in a transaction of `connection`; of several processes, one at a time."""
    if _is_prepared(connection):
        return
    for table in (PlannedPartitions, RangeEvents):
        connection.execute(CreateTable(table, if_not_exists=True))
    for statement in _STATEMENTS:
        connection.execute(text(statement))


def _is_prepared(connection: Connection) -> bool:
    return connection.execute(text("SELECT to_regclass('range_events') IS NOT NULL")).scalar_one()
