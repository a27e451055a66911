"""What holds for every test.

Hypothesis looks for a counterexample, not for one that takes long on a busy machine. A Java that a test starts has the
first of its two compilers alone, which is enough for some minutes: with it, and with room for all compiled classes, the
tests of models took 35 s of the Spark server's processor time against 71 s.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes run the tests, those of a module have one, and those on Spark: its server starts once."""
    on_spark = Path(__file__).parent / "spark"
    for item in items:
        group = on_spark if on_spark in item.path.parents else item.path
        item.add_marker(pytest.mark.xdist_group(str(group)))
