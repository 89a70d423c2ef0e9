"""Puts the search spaces and latency tables of the top level into the wheel."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = ("search_spaces", "latency_tables")


class BuildPy(build_py):
    """Copies them to ``nas/_shipped``; an editable install reads the folders themselves."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in SHIPPED:
            target = Path(self.build_lib, "nas", "_shipped", name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(name, target, ignore=shutil.ignore_patterns(".*"))

    def get_source_files(self) -> list[str]:
        """What an archive of the sources needs."""
        files = (path for name in SHIPPED for path in Path(name).rglob("[!.]*") if path.is_file())
        return [*super().get_source_files(), *map(str, files)]


setup(cmdclass={"build_py": BuildPy})
