"""A request and its YAML file: read, merged with options, checked, saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.errors import InputError
from toolkit.storage import write_text

MAX_YAML_BYTES = 1_000_000


class Request(BaseModel):
    """What every workflow needs."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    paths: ClassVar[tuple[str, ...]] = ("out",)
    """Keys that are paths: in a YAML file they count from its folder."""
    names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Such a key -> values that are known names, unless a file is called so."""
    for_one_run: ClassVar[frozenset[str]] = frozenset()
    """Keys that say how this run treats an earlier one; they are not saved."""
    argument: ClassVar[str | None] = None
    """Key that the command line takes without an option, before the run file."""

    out: Path = Field(description="Folder for the results.")

    @classmethod
    def read(cls, path: str | Path | None, options: Mapping[str, Any] | None = None) -> Self:
        """Merge a YAML file and options; options win.

        Args:
            path: YAML file, or None.
            options: values by key; None and empty tuples count as not given.

        Raises:
            InputError: the file or a value cannot be used; names key, value and what is allowed.
        """
        values = {} if path is None else cls._from_file(Path(path))
        given = (options or {}).items()
        values.update({key: value for key, value in given if value not in (None, ())})
        return cls.make(values)

    @classmethod
    def make(cls, values: dict[str, Any]) -> Self:
        """Check values.

        Raises:
            InputError: a key is missing or unknown, or a value cannot be used.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            entries = error.errors()
            unknown = [entry for entry in entries if entry["type"] == "extra_forbidden"]
            problems = [_problem(cls, entry) for entry in entries if entry not in unknown]
            raise InputError("; ".join((*_unknown_keys(cls, unknown), *problems))) from error

    @classmethod
    def _from_file(cls, path: Path) -> dict[str, Any]:
        try:
            if not path.exists():
                msg = f"There is no run file {str(path)!r}. Give a file in YAML, or options alone."
                raise InputError(msg)
            if path.stat().st_size > MAX_YAML_BYTES:
                msg = f"{str(path)!r} is larger than {MAX_YAML_BYTES} bytes; give a run file in YAML."
                raise InputError(msg)
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            first = str(error).splitlines()[0]
            msg = f"The run file {str(path)!r} cannot be read ({first}). Give YAML with 'key: value' lines."
            raise InputError(msg) from error
        if not isinstance(values, dict):
            found = type(values).__name__
            msg = f"The run file {str(path)!r} holds {found}. Give YAML with 'key: value' lines."
            raise InputError(msg)
        here = path.resolve().parent
        for key in cls.paths:
            values[key] = _from(here, key, values.get(key), cls.names.get(key, ()))
        return {key: value for key, value in values.items() if value is not None}

    def write(self, path: Path) -> Path:
        """Save the request as YAML; read back from any folder it means the same."""
        lasting = {key: value for key, value in self.absolute().items() if key not in self.for_one_run}
        return write_text(yaml.safe_dump(lasting, sort_keys=False), path)

    def absolute(self) -> dict[str, Any]:
        """Return plain values by key, paths such that they mean the same from any folder."""
        values = self.model_dump(mode="json", exclude_none=True)
        for key in self.paths:
            if key in values:
                values[key] = _from(Path.cwd(), key, values[key], self.names.get(key, ()))
        return values


def _from(here: Path, key: str, value: Any, names: tuple[str, ...]) -> Any:
    """Let a path, or each of several, count from a folder."""
    if isinstance(value, dict):
        return {name: _from(here, key, part, names) for name, part in value.items()}
    if isinstance(value, list):
        return [_from(here, key, part, names) for part in value]
    if not isinstance(value, str) or _is_name(key, value, here, names):
        return value
    return str((here / value).resolve())


def _is_name(key: str, value: str, here: Path, names: tuple[str, ...]) -> bool:
    """Whether a catalog or layer is given by name or URL rather than by path."""
    by_name = value in names or key.endswith("catalog")
    return by_name and ("://" in value or not (here / value).exists())


def _unknown_keys(model: type[BaseModel], entries: Sequence[Any]) -> list[str]:
    """Return a sentence for all keys that are none, if there are some: the known ones are many."""
    keys = [".".join(map(str, entry["loc"])) for entry in entries]
    are = "is not a known key" if len(keys) == 1 else "are not known keys"
    return [f"{', '.join(keys)} {are}. Known keys: {', '.join(model.model_fields)}."] if keys else []


def _problem(model: type[BaseModel], entry: Any) -> str:
    """One sentence for one problem pydantic found."""
    key = ".".join(str(part) for part in entry["loc"]) or "the request"
    if entry["type"] == "missing":
        field = model.model_fields.get(key)
        return (
            f"{key} is missing ({field.description if field else 'required'}) Give --{key.replace('_', '-')}."
        )
    return f"{key} is {entry['input']!r}: {entry['msg'].removeprefix('Value error, ')}."
