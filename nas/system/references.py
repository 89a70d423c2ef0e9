"""Loads an object named as ``package.module:name``, such as a user's space or function."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown

_REFERENCE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_reference(text: str) -> bool:
    """Whether a text has the form ``package.module:name``, unlike a path or a plain name."""
    return bool(_REFERENCE.fullmatch(text))


def load_reference(text: str, option: str) -> Any:
    """Import a module and return the object that ``package.module:name`` names.

    The current folder is searched last, so that a module in it is found by every program that
    imports this package.

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
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigError(_not_found(text, option, module_name, error)) from None
    except (Exception, SystemExit) as error:  # whatever the user's code raises
        said = " ".join(str(error).split())
        raise ConfigError(
            f"{option} {text}: importing {module_name} failed: {type(error).__name__}: {said}"
        ) from error
    for name in path.split("."):
        if not hasattr(found, name):
            known = [known for known in dir(found) if not known.startswith("_")]
            raise ConfigError(f"{option} {text}: {unknown('name', name, known)}")
        found = getattr(found, name)
    return found


def _not_found(text: str, option: str, module_name: str, error: ModuleNotFoundError) -> str:
    """Message that says whether the module itself is missing, or one that it imports."""
    missing = error.name or str(error)
    if module_name == missing or module_name.startswith(f"{missing}."):
        return (
            f"{option} {text}: no module {missing!r}; run from the folder that has it, or install "
            f"it"
        )
    return f"{option} {text}: {module_name} needs the module {missing!r}, which is not installed"
