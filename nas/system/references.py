"""Loads an object named as ``package.module:name``, such as a user's space or function."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, error_text, unknown

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(text: str) -> bool:
    """Whether a text has the form ``package.module:name``, unlike a path or a plain name."""
    return bool(_REFERENCE.fullmatch(text))


def load_reference(text: str, option: str) -> Any:
    """Import a module and return the object that ``package.module:name`` names.

    What the module prints meanwhile goes to stderr. The current folder is searched last, so that a
    module in it is found by every program that imports this package.

    Args:
        text: the reference, ``package.module:name``.
        option: the user's option that has this value, for messages.

    Raises:
        ConfigError: the text is not a reference, the import fails, or the module has no such name.
    """
    if not is_reference(text):
        raise ConfigError(f"{option} {text!r}: write package.module:name")
    module_name, _, path = text.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found: Any = importlib.import_module(module_name)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever the user's code raises
            if isinstance(error, ModuleNotFoundError) and error.name:
                message = _not_found(text, option, module_name, error.name)
                raise ConfigError(message) from None
            said = error_text(error)
            raise ConfigError(f"{option} {text}: importing {module_name} failed: {said}") from error
        for name in path.split("."):
            try:
                found = getattr(found, name)
            except AttributeError:
                raise ConfigError(f"{option} {text}: {_unknown_name(found, name)}") from None
            except Exception as error:  # a module or class may compute its attributes
                said = error_text(error)
                raise ConfigError(f"{option} {text}: reading {name} failed: {said}") from error
    return found


def _unknown_name(found: Any, name: str) -> str:
    try:
        known = [known for known in dir(found) if not known.startswith("_")]
    except Exception:  # it may be computed, too
        known = []
    return unknown("name", name, known)


def _not_found(text: str, option: str, module_name: str, missing: str) -> str:
    """Message that says whether the module itself is missing, or one that it imports."""
    if module_name == missing or module_name.startswith(f"{missing}."):
        return (
            f"{option} {text}: no module {missing!r}; run from the folder that has it, or install "
            f"it"
        )
    return f"{option} {text}: {module_name} needs the module {missing!r}, which is not installed"
