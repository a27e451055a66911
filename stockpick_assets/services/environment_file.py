"""`<home>/stockpick.env`: the settings in force, for the other processes of a home. Only its owner can read it."""

import os
from collections.abc import Iterable
from pathlib import Path

from stockpick_assets.settings import PREFIX, Settings

CREDENTIALS = ("s3_access_key", "s3_secret_key")


def path(settings: Settings) -> Path:
    """Where the file of this home is."""
    return settings.home / "stockpick.env"


def write_settings(settings: Settings) -> None:
    """Keep every setting that is not a default."""
    _write(settings, settings.model_fields_set - {"home"})


def keep_credentials(settings: Settings) -> None:
    """Keep the object store's keys, without which its data is lost, and forget the rest."""
    if path(settings).exists():
        _write(settings, CREDENTIALS)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)


def _write(settings: Settings, names: Iterable[str]) -> None:
    values = settings.environment()
    lines = [
        f"{name}={_quoted(values[name])}\n" for field in sorted(names) if (name := PREFIX + field.upper()) in values
    ]
    write_secret(path(settings), "".join(lines))


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
