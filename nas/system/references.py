"""Loads what ``package.module:name`` refers to."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from nas.errors import UserError


def load_reference(reference: str, option: str, error: type[UserError]) -> Any:
    """The object that a reference names; modules in the working directory are found too.

    Args:
        reference: ``package.module:name``.
        option: that gave it, for the message.
        error: what is raised.

    Raises:
        UserError: it cannot be imported, or has no such name; of the type ``error``.
    """
    module_name, _, name = reference.partition(":")
    if not module_name or not name:
        raise error(f"{option} {reference!r}: write package.module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except Exception as problem:  # importing runs anybody's code
        said = " ".join(str(problem).split()) or type(problem).__name__
        raise error(f"{option} {reference}: {module_name} cannot be imported: {said}") from None
    if not hasattr(module, name):
        raise error(f"{option} {reference}: {module_name} ({module.__file__}) has no {name!r}")
    return getattr(module, name)
