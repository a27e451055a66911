"""The import boundaries of the code base: read from the syntax tree of every module, so nothing has to be imported.

What belongs here: which module may name which library or function. What does not: how any of them behaves.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCT = ("stockpick_assets", "streamlit_app")
MOST_LINES = 500
ANY_INSTALLED = "*"

VENDORS = ("apprise", "boto3", "botocore", "curl_cffi", "deltalake", "kafka", "requests", "yfinance")
ENVIRONMENT = ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv")
CLOCK = (
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "pandas.Timestamp.now",
    "pandas.Timestamp.today",
    "pandas.Timestamp.utcnow",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.time",
    "time.time_ns",
)


@dataclass(frozen=True)
class Boundary:
    """What the modules below `within` may not name, save those below `besides`.

    forbids, allows: dotted names, each standing for everything below it; the more allowed wins. ANY_INSTALLED stands
    for every library that is not Python's own.
    """

    within: tuple[str, ...]
    forbids: tuple[str, ...]
    because: str
    allows: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()

    def guards(self, path: str) -> bool:
        """Whether the module at `path`, relative to the repository, is inside the boundary."""
        return path.startswith(self.within) and not path.startswith(self.besides)

    def refuses(self, name: str) -> bool:
        """Whether a module inside may not use the dotted `name`."""
        if any(_below(name, allowed) for allowed in self.allows):
            return False
        installed = ANY_INSTALLED in self.forbids and name.split(".")[0] not in sys.stdlib_module_names
        return installed or any(_below(name, forbidden) for forbidden in self.forbids)


BOUNDARIES = (
    Boundary(
        ("stockpick_assets/core/",),
        (ANY_INSTALLED, "os", "socket", "sqlite3", "subprocess", "urllib.request"),
        "core is pure: the standard library without its side effects, pandas, numpy, pyarrow and the calendar",
        allows=("exchange_calendars", "numpy", "pandas", "pyarrow", "stockpick_assets.core"),
    ),
    Boundary(
        ("stockpick_assets/spark/",),
        (ANY_INSTALLED,),
        "spark is Spark without Dagster: it is given frames and gives frames",
        allows=("numpy", "pandas", "pyarrow", "pyspark", "stockpick_assets.core", "stockpick_assets.spark"),
    ),
    Boundary(
        ("stockpick_assets/fine_partitions/",),
        PRODUCT,
        "fine_partitions knows nothing of stocks and could be released by itself",
        allows=("stockpick_assets.fine_partitions",),
    ),
    Boundary(
        ("streamlit_app/",),
        (ANY_INSTALLED,),
        "the app draws the tables: of stockpick it knows core, store and settings",
        allows=(
            "altair",
            "numpy",
            "pandas",
            "pyarrow",
            "stockpick_assets.core",
            "stockpick_assets.settings",
            "stockpick_assets.store",
            "streamlit",
            "streamlit_app",
        ),
    ),
    Boundary(
        ("stockpick_assets/",),
        (*VENDORS, "streamlit", "streamlit_app"),
        "a vendor is spoken to in resources/, store.py and io_managers.py, and in services/, which starts them",
        besides=(
            "stockpick_assets/io_managers.py",
            "stockpick_assets/resources/",
            "stockpick_assets/services/",
            "stockpick_assets/store.py",
        ),
    ),
    Boundary(
        PRODUCT,
        ENVIRONMENT,
        "settings.py alone reads the environment; services/ and cli/ hand its settings on",
        besides=("stockpick_assets/cli/", "stockpick_assets/services/", "stockpick_assets/settings.py"),
    ),
    Boundary(
        ("stockpick_assets/",),
        CLOCK,
        "the time is an argument; resources/, services/ and cli/ are where it is read",
        besides=("stockpick_assets/cli/", "stockpick_assets/resources/", "stockpick_assets/services/"),
    ),
)


def test_no_module_crosses_a_boundary() -> None:
    """The whole code base, so that a failure lists every crossing at once."""
    found = [crossing for path, text in _modules(*PRODUCT) for crossing in crossings(path, text)]
    assert not found, "\n".join(found)


def test_every_module_says_what_belongs_in_it() -> None:
    """An empty `__init__.py` too: it stands for its folder."""
    silent = [path for path, text in _modules(*PRODUCT, "bench") if not ast.get_docstring(ast.parse(text))]
    assert not silent, "\n".join(silent)


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    """Counted with comments and blank lines."""
    lengths = {path: text.count("\n") for path, text in _modules(*PRODUCT, "stockpick_assets_tests", "bench")}
    assert {path: lines for path, lines in lengths.items() if lines > MOST_LINES} == {}


def test_every_name_is_imported_from_the_module_that_defines_it() -> None:
    """Or from its package's `__init__.py`, which exports it; a module that hands names on would hide who uses what."""
    modules = dict(_modules(*PRODUCT, "stockpick_assets_tests", "bench"))
    defined = {path: _defined(ast.parse(text)) for path, text in modules.items()}
    found = [
        f"{path}:{line} imports {name} from {origin}, which does not define it"
        for path, text in modules.items()
        for line, origin, name in _imported(path, ast.parse(text))
        if (source := f"{origin.replace('.', '/')}.py") in modules and name not in defined[source]
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("boundary", BOUNDARIES, ids=lambda boundary: boundary.because)
def test_a_boundary_guards_something_and_names_what_exists(boundary: Boundary) -> None:
    """A folder that was renamed, or a library that was dropped, would leave a rule that can never fail."""
    assert any(boundary.guards(path) for path, _ in _modules(*PRODUCT))
    libraries = {name.split(".")[0] for name in (*boundary.forbids, *boundary.allows)} - {ANY_INSTALLED}
    assert {name for name in libraries if importlib.util.find_spec(name) is None} == set()


CORE = "stockpick_assets/core/ranking.py"
ASSET = "stockpick_assets/assets/picks.py"
SENSOR = "stockpick_assets/sensors/live.py"
APP = "streamlit_app/data.py"
FINE = "stockpick_assets/fine_partitions/keys.py"

PLANTED = [
    (CORE, "import dagster", "dagster"),
    (CORE, "import pyspark.sql.functions as F", "pyspark.sql.functions"),
    (CORE, "from deltalake import DeltaTable", "deltalake.DeltaTable"),
    (CORE, "def rank():\n    import boto3", "boto3"),
    (CORE, "if TYPE_CHECKING:\n    from kafka import KafkaProducer", "kafka.KafkaProducer"),
    (CORE, "import importlib\nimportlib.import_module('yfinance')", "yfinance"),
    (CORE, "__import__('streamlit')", "streamlit"),
    (CORE, "from ..store import Store", "stockpick_assets.store.Store"),
    (CORE, "from .. import settings", "stockpick_assets.settings"),
    (CORE, "import subprocess", "subprocess"),
    ("stockpick_assets/spark/training.py", "from dagster import asset", "dagster.asset"),
    ("stockpick_assets/spark/training.py", "import stockpick_assets.partitions", "stockpick_assets.partitions"),
    (ASSET, "import deltalake", "deltalake"),
    ("stockpick_assets/checks.py", "from kafka.admin import NewTopic", "kafka.admin.NewTopic"),
    (ASSET, "import os\nhome = os.environ['HOME']", "os.environ"),
    (ASSET, "from os import environ as e\ne.get('HOME')", "os.environ"),
    (ASSET, "from os import getenv", "os.getenv"),
    ("stockpick_assets/checks.py", "import datetime as d\nd.datetime.now(d.UTC)", "datetime.datetime.now"),
    (SENSOR, "from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
    (SENSOR, "from datetime import date\nnew = date.today", "datetime.date.today"),
    (SENSOR, "import time\nstarted = time.time()", "time.time"),
    (SENSOR, "from time import time\ntime()", "time.time"),
    (SENSOR, "import pandas as pd\npd.Timestamp.now('UTC')", "pandas.Timestamp.now"),
    (APP, "from stockpick_assets.partitions import Window", "stockpick_assets.partitions.Window"),
    (APP, "import stockpick_assets", "stockpick_assets"),
    (APP, "import dagster", "dagster"),
    (APP, "import os\nos.environ.get('PORT')", "os.environ"),
    (FINE, "from stockpick_assets.core.errors import StockpickError", "stockpick_assets.core.errors.StockpickError"),
    (FINE, "from .. import settings", "stockpick_assets.settings"),
]


@pytest.mark.parametrize(("path", "text", "name"), PLANTED, ids=[f"{path}: {name}" for path, _, name in PLANTED])
def test_a_planted_violation_is_caught(path: str, text: str, name: str) -> None:
    """Each form in which a forbidden name can be reached, one at a time."""
    found = crossings(path, text)
    assert found
    assert all(f" uses {name}" in crossing for crossing in found)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (CORE, "import json, math\nimport numpy as np\nfrom stockpick_assets.core.errors import StockpickError"),
        (
            CORE,
            "from .errors import StockpickError\nfrom datetime import UTC, datetime\ndatetime(2026, 1, 2, tzinfo=UTC)",
        ),
        ("stockpick_assets/spark/training.py", "from pyspark.ml import Pipeline"),
        ("stockpick_assets/settings.py", "import os\nos.environ.get('STOCKPICK_HOME')"),
        ("stockpick_assets/resources/kafka.py", "from kafka import KafkaProducer\nimport time\ntime.time()"),
        ("stockpick_assets/store.py", "from deltalake import DeltaTable"),
        (ASSET, "import time\nstarted = time.monotonic()\npassed = time.monotonic() - started"),
        (
            APP,
            "import streamlit as st\nfrom stockpick_assets.store import Store\nfrom stockpick_assets import settings",
        ),
        (FINE, "from stockpick_assets.fine_partitions.rectangles import rectangles"),
    ],
)
def test_what_a_module_may_use_is_not_caught(path: str, text: str) -> None:
    """A rule that refuses too much would be switched off."""
    assert crossings(path, text) == []


def crossings(path: str, text: str) -> list[str]:
    """Each place where the module `text` at `path` uses a name that a boundary refuses, with the reason."""
    guarding = [boundary for boundary in BOUNDARIES if boundary.guards(path)]
    found = {
        (line, boundary.because): f"{path}:{line} uses {name}: {boundary.because}"
        for line, name in _names_used(path, ast.parse(text))
        for boundary in guarding
        if boundary.refuses(name)
    }
    return list(found.values())


def _names_used(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full dotted name of all that a module imports, or reaches through what it imported."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{_origin(path, node)}.{alias.name}"
                known[alias.asname or alias.name] = name
                yield node.lineno, name
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in (
            "__import__",
            "import_module",
            "importlib.import_module",
        ):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant):
                    yield node.lineno, str(argument.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first, *rest = ast.unparse(node).split(".")
            if first in known:
                yield node.lineno, ".".join([known[first], *rest])


def _imported(path: str, tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, module and name of all that `from … import` takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, _origin(path, node), alias.name


def _defined(tree: ast.Module) -> set[str]:
    """The names that a module makes: its classes, functions and assignments, and what it imports by another name."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias) and node.asname:
            names.add(node.asname)
    return names


def _origin(path: str, node: ast.ImportFrom) -> str:
    """The package or module that a `from … import` names, with leading dots resolved."""
    folders = Path(path).parent.parts
    package = folders[: len(folders) - node.level + 1] if node.level else ()
    return ".".join((*package, *([node.module] if node.module else [])))


def _below(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")


def _modules(*packages: str) -> list[tuple[str, str]]:
    paths = sorted(path.relative_to(ROOT).as_posix() for package in packages for path in (ROOT / package).rglob("*.py"))
    return [(path, _text(path)) for path in paths]


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
