"""Java: finding it, and fetching the jars of a service with the Ivy that pyspark ships.

What belongs here: nothing that knows a service. The jars of each are described by an Ivy file beside its module.
"""

import os
import re
import shutil
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

from stockpick_assets.core.errors import StockpickError

OLDEST = 17


class JavaMissing(StockpickError):
    """There is no Java, or one that is too old."""


class JarsMissing(StockpickError):
    """The jars of a service could not be fetched."""


def java() -> str:
    """The Java to use: JAVA_HOME's, else the first of PATH. Raises JavaMissing when it is older than 17."""
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    advice = (
        f"install Java {OLDEST} or newer (Debian: `apt-get install openjdk-17-jre-headless`) "
        "and put it on PATH or in JAVA_HOME"
    )
    if found is None or not os.access(found, os.X_OK):
        raise JavaMissing(
            f"no Java at {found}, where JAVA_HOME points; {advice}" if home else f"no Java found; {advice}"
        )
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(?:1\.)?(\d+)', answer)
    if version is None or int(version[1]) < OLDEST:
        said = answer.strip().splitlines()[0] if answer.strip() else "nothing"
        raise JavaMissing(f"{found} says {said}; {advice}")
    return found


def spark_home() -> Path:
    """Where pip put Spark."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise StockpickError("pyspark is not installed in this Python; run `make .venv`")
    return Path(spec.origin).parent


def cache_folder() -> Path:
    """Where the jars of all homes of this user are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stockpick"


def jars(folder: str, description: str) -> Path:
    """The folder of the user's cache that holds the jars of the Ivy file `description`; fetched when missing.

    A fetch takes about half a minute and is complete or not there: two homes may fetch at one time.
    Raises JarsMissing, JavaMissing.
    """
    target = cache_folder() / folder
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory(prefix=f"{folder}-", dir=target.parent) as work:
        command = [java(), "-jar", str(ivy), "-ivy", str(Path(__file__).with_name(description))]
        command += ["-cache", f"{work}/ivy", "-retrieve", f"{work}/jars/[artifact]-[revision](-[classifier]).[ext]"]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode:
            lines = [line.strip() for line in answer.stdout.splitlines() if "UNRESOLVED" in line or "FAILED" in line]
            raise JarsMissing(
                f"could not fetch the jars of {folder} into {target}: {'; '.join(lines[:3]) or answer.stderr[-300:]}. "
                "They come from Maven Central: check the network, then try again"
            )
        if not target.exists():
            Path(work, "jars").rename(target)
    return target
