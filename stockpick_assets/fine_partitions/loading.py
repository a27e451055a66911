"""What is decided when a code server loads its definitions, and holds for every run that it starts from them.

What does not belong here: what is decided, and how a server loads (`code_server`).
"""

from collections.abc import Callable

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext, DefinitionsLoadType

from stockpick_assets.fine_partitions.overrides import StockMethod, check

LOADING_METHODS: tuple[StockMethod, ...] = (
    StockMethod(DefinitionsLoadContext, "get", "()"),
    StockMethod(DefinitionsLoadContext, "add_to_pending_reconstruction_metadata", "(self, key, metadata)"),
)


def decided_at_load(name: str, decide: Callable[[], str]) -> str:
    """What `decide` said when the definitions were loaded, for a `@definitions` function to call.

    A run makes its definitions anew. Where they depend on the time, as partitions do that move with it, the run would
    not know partitions it was launched for; Dagster hands it what is returned here with its plan. In a process that is
    neither a code server nor a run of one, `decide` is asked.

    Raises UnsupportedDagster: the installed Dagster is not the one this was written for.
    """
    check(LOADING_METHODS)
    context = DefinitionsLoadContext.get()
    known = context.load_type is DefinitionsLoadType.RECONSTRUCTION and context.reconstruction_metadata.get(name)
    decided = known or decide()
    context.add_to_pending_reconstruction_metadata(name, decided)
    return decided
