"""Command-line options made from a request: every option is also a YAML key."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from pydantic_core import PydanticUndefined

from pipelines.config_file import Request
from toolkit.errors import InputError

Command = Callable[..., Any]
RUN_FILES = (".yaml", ".yml")
"""Endings by which a run file is told from one more value of an option."""


class SeveralOption(click.Option):
    """An option that takes one or several values: ``--targets BEL NLD``, or each with its own flag."""


class RequestCommand(click.Command):
    """A command whose :class:`SeveralOption` take all values up to the next option or the run file."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Give each value its own flag, as click knows it."""
        flags = {flag for option in self.params if isinstance(option, SeveralOption) for flag in option.opts}
        try:
            return super().parse_args(ctx, spread_values(args, flags))
        except click.MissingParameter as error:
            if not isinstance(error.param, click.Argument):
                raise
            msg = (
                f"{error.format_message()} It stands before the options: those that take several values take "
                "every word behind them."
            )
            raise click.UsageError(msg, ctx) from error


def spread_values(args: list[str], flags: Collection[str]) -> list[str]:
    """Return arguments in which a flag stands before each of its values.

    Args:
        args: as typed: ``--targets BEL NLD --out DIR RUN.yaml``.
        flags: those that take several values, as ``--targets``.
    """
    spread: list[str] = []
    flag, first = "", False
    for k, word in enumerate(args):
        if word == "--":
            return [*spread, *args[k:]]
        name, given, _ = word.partition("=")
        if word.startswith("-") and not _is_number(word):
            flag = name if name in flags else ""
            first = bool(flag) and not given  # its value is the next word, whatever that looks like
            spread.append(word)
        elif flag and not first and not word.lower().endswith(RUN_FILES):
            spread += [flag, word]
        else:
            flag = flag if first else ""
            first = False
            spread.append(word)
    return spread


def _is_number(word: str) -> bool:
    """Return whether a word that begins like an option is a value: ``-0.2``, or ``-``."""
    try:
        float(word)
    except ValueError:
        return word == "-"
    return True


def request_options(model: type[Request]) -> Callable[[Command], Command]:
    """Return a decorator that adds an optional run file and one option per field, for one field an argument.

    The command gets the checked request as its only argument.
    """

    def decorate(command: Command) -> Command:
        def checked(run_file: Path | None, **options: Any) -> Any:
            return command(model.read(run_file, _parsed(model, options)))

        checked.__name__, checked.__doc__ = command.__name__, command.__doc__
        decorated: Command = click.argument(
            "run_file", required=False, type=click.Path(path_type=Path), metavar="[RUN.yaml]"
        )(checked)
        for name, field in reversed(model.model_fields.items()):
            text = field.description or ""
            if field.default not in (PydanticUndefined, None, (), False):
                text += f" Default: {_shown(field.default)}."
            if name == model.argument:
                decorated = _argument(name, field.annotation)(decorated)
            else:
                decorated = _option(name, field.annotation, text)(decorated)
        return decorated

    return decorate


def _argument(name: str, annotation: Any) -> Callable[[Command], Command]:
    """Return what must stand behind the command itself."""
    kind = _plain(annotation)
    choice = click.Choice(get_args(kind)) if get_origin(kind) is Literal else click.Path(path_type=Path)
    return click.argument(name, type=choice, metavar=name.upper())


def _option(name: str, annotation: Any, description: str) -> Callable[[Command], Command]:
    flag = f"--{name.replace('_', '-')}"
    kind = _plain(annotation)
    if get_origin(kind) is Literal:
        return click.option(flag, type=click.Choice(get_args(kind)), default=None, help=description)
    if kind is bool:
        return click.option(flag, is_flag=True, default=None, help=description)
    if get_origin(kind) is dict:
        return click.option(
            flag,
            name,
            cls=SeveralOption,
            multiple=True,
            metavar="KEY=VALUE...",
            help=f"{description} One or several.",
        )
    if get_origin(kind) is tuple:
        return click.option(
            flag,
            name,
            cls=SeveralOption,
            multiple=True,
            metavar="VALUE...",
            help=f"{description} One or several.",
        )
    types = {int: click.INT, float: click.FLOAT, Path: click.Path(path_type=Path)}
    return click.option(flag, type=types.get(kind, click.STRING), default=None, help=description)


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def _plain(annotation: Any) -> Any:
    """Strip None and constraints from an annotation."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _parsed(model: type[Request], options: dict[str, Any]) -> dict[str, Any]:
    """Turn repeated KEY=VALUE options into mappings."""
    parsed = {}
    for name, value in options.items():
        parsed[name] = value
        if get_origin(_plain(model.model_fields[name].annotation)) is dict and value:
            if wrong := [text for text in value if "=" not in text]:
                msg = f"--{name.replace('_', '-')} {wrong[0]!r} is not KEY=VALUE, e.g. 1110=wheat."
                raise InputError(msg)
            parsed[name] = dict(text.split("=", 1) for text in value)
    return parsed
