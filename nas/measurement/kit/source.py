"""Extracts the model files of a device kit, and checks each against the manifest.

A kit is a zip file, or the folder it was unzipped into. Its paths are not trusted: a path that
points outside the kit is refused.

Device kits carry this file, so it needs only Python's standard library.
"""

from __future__ import annotations

import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nas.errors import TableError
from nas.measurement.kit.files import Digest, KitModel, is_inside, parse_manifest
from nas.system.json_checks import loads
from nas.system.text_files import MAX_FILE_BYTES

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError),
    *(NotImplementedError, RuntimeError),  # an unknown compression; an encrypted entry
)


class KitSource:
    """An open kit; made by `open_kit`.

    Attributes:
        path: path of the zip file or folder.
        manifest: the kit's manifest.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile | None) -> None:
        self.path, self._archive = path, archive
        self._names = _zip_names(path, archive) if archive else []
        try:
            self.manifest = parse_manifest(loads(self._manifest_bytes()), MANIFEST)
        except ValueError as error:
            raise TableError(f"{path}: {error}") from None

    @contextmanager
    def models(self, models: Sequence[KitModel], folder: Path) -> Iterator[list[Path]]:
        """Extract models for a with-block, and delete them at its end, as devices have small disks.

        Args:
            models: models that the manifest lists.
            folder: where to extract to; it must not hold files of the same names.

        Yields:
            The list of the paths of the extracted models, in order.

        Raises:
            TableError: a model is missing, damaged or differs from the manifest; names it.
        """
        paths = [folder / model.file.rpartition("/")[2] for model in models]
        try:
            for model, path in zip(models, paths, strict=True):
                self._extract(model, path)
            yield paths
        finally:
            for path in paths:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    def _manifest_bytes(self) -> bytes:
        with self._reading(MANIFEST), self._open(MANIFEST) as file:
            return file.read(MAX_FILE_BYTES + 1)

    def _extract(self, model: KitModel, path: Path) -> None:
        """Copy a model's file or package to ``path``, and check its size and checksum."""
        members = self._members(model.file)
        digest = Digest(package=members != [model.file])
        for member in members:
            inside = member[len(model.file) + 1 :]
            target = path / inside if inside else path
            target.parent.mkdir(parents=True, exist_ok=True)
            digest.begin(inside)
            with self._reading(member), self._open(member) as file, target.open("wb") as copy:
                while data := file.read(_CHUNK_BYTES):
                    digest.update(data)
                    if digest.size_bytes > model.size_bytes:
                        break
                    copy.write(data)
        if (digest.size_bytes, digest.hexdigest()) != (model.size_bytes, model.sha256):
            raise TableError(
                f"{self.path}: {model.file} is not what the manifest says (size or checksum); "
                f"copy the kit to the device again"
            )

    def _members(self, name: str) -> list[str]:
        """Paths in the kit of the files of a model: the model itself, or its package's, sorted."""
        prefix = f"{name}/"
        if self._archive:
            found = [n for n in self._names if n == name or n.startswith(prefix)]
        elif (self.path / name).is_dir():
            files = [path for path in (self.path / name).rglob("*") if not path.is_dir()]
            found = [path.relative_to(self.path).as_posix() for path in files]
        else:
            found = [name]
        outside = next((member for member in found if not is_inside(member)), None)
        if outside is not None:
            raise TableError(f"{self.path}: {outside!r} has a name that no kit has")
        return sorted(found) or [name]

    def _open(self, name: str) -> BinaryIO:
        if self._archive:
            return self._archive.open(name)  # type: ignore[return-value]
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise TableError(f"{path}: is a link that points outside the kit")
        return path.open("rb")

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Turn errors of a damaged kit into a TableError; errors of the disk pass unchanged."""
        again = "copy the kit to the device again"
        try:
            yield
        except (KeyError, FileNotFoundError):
            raise TableError(f"{self.path}: {name} is missing; {again}") from None
        except _DAMAGED as error:
            raise TableError(f"{self.path}: {name} is damaged ({error}); {again}") from None


@contextmanager
def open_kit(path: Path) -> Iterator[KitSource]:
    """Open a kit's zip file or folder.

    Raises:
        TableError: the path is not a kit, or the kit is damaged.
    """
    if path.is_dir():
        yield KitSource(path, None)
        return
    try:
        archive = zipfile.ZipFile(path)
    except (OSError, *_DAMAGED) as error:
        raise TableError(f"{path}: is no device kit: {error}") from None
    with archive:
        yield KitSource(path, archive)


def _zip_names(path: Path, archive: zipfile.ZipFile) -> list[str]:
    """Names of all files in the archive.

    Raises:
        TableError: a name points outside the kit, or is in the archive twice.
    """
    names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    for name in names:
        if not is_inside(name):
            raise TableError(f"{path}: the entry {name!r} points outside the kit")
    if len(set(names)) != len(names):
        raise TableError(f"{path}: an entry is in it twice")
    return names
