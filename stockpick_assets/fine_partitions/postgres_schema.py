"""The Postgres database of events as this package needs it: the planned partitions, and the own logs of runs.

What does not belong here: Dagster's other tables, which its storage makes itself.
"""

from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.schema import CreateTable

from stockpick_assets.fine_partitions.plans import PlannedPartitions

# Of the advisory locks this package takes; the other half of a lock says of what.
LOCKS = 1_179_668_045
RUN_LOGS = "run_logs"

# A row of a range has no step in the table, though it has one in its event: by that it is left out of the run's log.
_STATEMENTS = (
    f"CREATE SCHEMA IF NOT EXISTS {RUN_LOGS}",
    f"""
    CREATE VIEW {RUN_LOGS}.event_logs AS SELECT * FROM event_logs
    WHERE step_key IS NOT NULL OR partition IS NULL OR run_id = ''
       OR dagster_event_type IS DISTINCT FROM 'ASSET_MATERIALIZATION'
    """,
    """
    CREATE FUNCTION forget_planned_partitions() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN DELETE FROM planned_partitions WHERE event_id = old.id; RETURN NULL; END'
    """,
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
    connection.execute(CreateTable(PlannedPartitions))
    for statement in _STATEMENTS:
        connection.execute(text(statement))


def _is_prepared(connection: Connection) -> bool:
    return connection.execute(text("SELECT to_regclass('planned_partitions') IS NOT NULL")).scalar_one()
