from pathlib import Path

import pytest

from stockpick_assets.services.java import JarsMissing, JavaMissing, jars, java


def install(folder: Path, answer: str) -> Path:
    """A Java that says `answer` about its version, and fails at everything else."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -version ] || {{ echo "  UNRESOLVED DEPENDENCIES"; exit 1; }}\necho {answer!r} >&2\n'
    )
    program.chmod(0o755)
    return program


@pytest.mark.parametrize("version", ["17.0.15", "21.0.2", "25"])
def test_java_17_and_newer_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    program = install(tmp_path, f'openjdk version "{version}" 2026-01-01')
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert java() == str(program)


@pytest.mark.parametrize("answer", ['java version "1.8.0_402"', 'openjdk version "11.0.2"', "Error: no JRE"])
def test_an_older_java_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    program = install(tmp_path, answer)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissing) as refused:
        java()
    assert f"{program} says {answer}; install Java 17 or newer" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_java_is_said_with_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(JavaMissing, match=f"no Java at {tmp_path}/bin/java, where JAVA_HOME points; install Java 17"):
        java()
    monkeypatch.delenv("JAVA_HOME")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(JavaMissing, match="no Java found; install Java 17"):
        java()


def test_jars_that_are_there_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "none"))
    (tmp_path / "stockpick" / "kafka-4.1.0").mkdir(parents=True)
    assert jars("kafka-4.1.0", "kafka.xml") == tmp_path / "stockpick" / "kafka-4.1.0"


def test_a_fetch_that_fails_leaves_nothing_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "java", 'openjdk version "17"')
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "java"))
    with pytest.raises(JarsMissing, match=r"could not fetch the jars of kafka-4.1.0 into .*: UNRESOLVED DEPENDENCIES"):
        jars("kafka-4.1.0", "kafka.xml")
    assert list((tmp_path / "cache" / "stockpick").iterdir()) == []
