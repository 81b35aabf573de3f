"""Commands of the package: their flags under `--help`, by groups and with defaults, and quiet libraries."""

import contextlib
import logging as python_logging
import shutil
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from absl import app, flags, logging

from rc_keras.base.own_command import HELP

Group: TypeAlias = Sequence[flags.FlagHolder]

_INDENT, _COLUMN, _WIDEST = "  ", 28, 100  # characters


def run(
    main: Callable[[list[str]], Any],
    groups: Mapping[str, Group],
    defaults: Callable[[], Mapping[str, str]] = dict,
) -> None:
    """Runs a command as `absl.app.run` does.

    `--help` tells the docstring of the command and its flags, and ends with 0; of libraries that it uses, only errors
    are told, unless `--verbosity` is given.

    Args:
        main: the command.
        groups: `{heading: flags}`, as help shows them; flags that the module of the command defines besides follow.
        defaults: function that answers `{name of a flag: default}`, once flags are parsed, for those whose default is
            not their own.
    """

    def parse(argv: list[str]) -> list[str]:
        given = [word for word in argv if word not in HELP]
        if len(given) < len(argv):
            with contextlib.suppress(flags.Error):
                flags.FLAGS(given)
            flags.FLAGS.mark_as_parsed()
            print(help_text(sys.modules["__main__"].__doc__ or "", groups, defaults()))
            sys.exit(0)
        rest = app.parse_flags_with_usage(argv)
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.ERROR)
            python_logging.getLogger("tensorflow").setLevel(python_logging.ERROR)
        return rest

    app.run(main, flags_parser=parse)


def help_text(about: str, groups: Mapping[str, Group], defaults: Mapping[str, str]) -> str:
    """What `--help` prints.

    Args:
        about: the docstring of the command.
        groups, defaults: see `run`.
    """
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    lines = [about.strip()]
    named = {heading: [holder.name for holder in group] for heading, group in groups.items()}
    own = [flag.name for flag in flags.FLAGS.get_flags_for_module(sys.argv[0])]
    named["More"] = [name for name in own if not any(name in group for group in named.values())]
    for heading, names in named.items():
        lines += ["", f"{heading}:"] if names else []
        for name in names:
            lines += _describe(flags.FLAGS[name], defaults.get(name), width)
    return "\n".join([*lines, "", "--helpfull lists the flags of all libraries too."])


def _describe(flag: flags.Flag, default: str | None, width: int) -> list[str]:
    if default is None and flag.default_as_str is not None:
        default = flag.default_as_str.strip("'")
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    text = flag.help if default is None else f"{flag.help} [{default}]"
    head = f"{_INDENT}{name}".ljust(_COLUMN)
    told = textwrap.wrap(text, max(width - _COLUMN, 20), break_on_hyphens=False, break_long_words=False)
    if len(head) > _COLUMN:
        return [head, *(" " * _COLUMN + line for line in told)]
    return [(head + told[0]).rstrip(), *(" " * _COLUMN + line for line in told[1:])]
