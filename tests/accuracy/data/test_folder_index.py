"""Classes and splits of a folder of images, and which layouts are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from nas.accuracy.data.folder_index import FolderIndex, index_folder
from nas.errors import DataError
from tests.accuracy.data.pictures import PER_CLASS, write_names, write_splits


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "pets")


def refused(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        index_folder(root)
    message = str(caught.value)
    assert message.isprintable()
    return message


def counts(index: FolderIndex) -> dict[str, int]:
    return {name: len(images) for name, images in index.splits.items()}


def folders_of(index: FolderIndex) -> dict[str, set[str]]:
    """First folders of the paths of each split."""
    return {
        split: {path.partition("/")[0] for path, _ in images}
        for split, images in index.splits.items()
    }


def real_files(index: FolderIndex) -> list[str]:
    paths = [path for images in index.splits.values() for path, _ in images]
    return [os.path.realpath(index.root / path) for path in paths]


def test_split_depends_on_paths_alone(root: Path, tmp_path: Path) -> None:
    before = index_folder(root).splits
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    assert index_folder(moved).splits == before
    members = [path for images in before.values() for path, _ in images]
    assert len(set(members)) == len(members) == 2 * PER_CLASS


def test_own_splits_are_used(tmp_path: Path) -> None:
    for split, count in {"train": 30, "val": 15, "test": 11}.items():
        write_splits(tmp_path, split, count=count)
    index = index_folder(tmp_path)
    assert counts(index) == {"train": 60, "val": 30, "test": 22}
    assert folders_of(index)["val"] == {"val"}


def test_a_missing_split_is_drawn_from_train(tmp_path: Path) -> None:
    index = index_folder(write_splits(tmp_path, "train", "val"))
    assert counts(index) == {"train": 136, "val": 160, "test": 24}
    assert folders_of(index)["test"] == {"train"}
    assert not set(index.splits["test"]) & set(index.splits["train"])


@pytest.mark.parametrize(
    "names",
    [
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "Val", "TEST"),
        ("train", "dev", "test"),
    ],
)
def test_usual_names_of_splits_are_used(tmp_path: Path, names: tuple[str, str, str]) -> None:
    index = index_folder(write_splits(tmp_path, *names))
    assert index.class_names == ("cat", "dog")
    train, val, test = names
    assert folders_of(index) == {"train": {train}, "val": {val}, "test": {test}}


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, "train", "val", "validation")
    assert "two folders of the val split, val and validation" in refused(tmp_path)


def test_a_class_may_be_named_like_a_split(tmp_path: Path) -> None:
    for name in ("car", "train", "Test"):
        write_names(tmp_path / name)
    assert index_folder(tmp_path).class_names == ("Test", "car", "train")


@pytest.mark.parametrize("top", ["train", "val"])
def test_what_may_be_a_split_beside_classes_is_refused(tmp_path: Path, top: str) -> None:
    write_splits(tmp_path, top)
    write_names(tmp_path / "car")
    assert f"has {top}, which looks like a split, and beside it car with" in refused(tmp_path)


def test_a_folder_without_images_beside_splits_does_no_harm(tmp_path: Path) -> None:
    write_splits(tmp_path, "train", "val")
    (tmp_path / "annotations" / "v1").mkdir(parents=True)
    (tmp_path / "annotations" / "boxes.json").touch()
    index = index_folder(tmp_path)
    assert index.class_names == ("cat", "dog") and index.left_out == ""


@pytest.mark.parametrize("top", ["val", "Test"])
def test_a_flat_split_beside_train_is_refused(tmp_path: Path, top: str) -> None:
    write_splits(tmp_path, "train")
    write_names(tmp_path / top)
    line = refused(tmp_path)
    assert f"data folder {tmp_path / top} has images but no class folders: sort its" in line
    assert "or move it out of the data folder" in line


@pytest.mark.parametrize(
    ("tops", "said"),
    [
        (("train", "test"), "train has images but no class folders: put the images of every"),
        (("dev", "testing"), "has dev and testing but no train folder"),
    ],
)
def test_flat_splits_are_not_classes(tmp_path: Path, tops: tuple[str, ...], said: str) -> None:
    for top in tops:
        write_names(tmp_path / top)
    assert said in refused(tmp_path)


def test_splits_without_train_are_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, "val")
    assert "has val but no train folder" in refused(tmp_path)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, "train")
    (tmp_path / "val").mkdir()
    assert f"{tmp_path / 'val'} has no class folders" in refused(tmp_path)


def test_splits_of_different_classes_are_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, "train", "val", count=30)
    (tmp_path / "val" / "dog").rename(tmp_path / "val" / "dogs")
    said = "val has class 'dogs', which train lacks and lacks class 'dog', which train has"
    assert said in refused(tmp_path)


def test_stray_and_hidden_files_at_any_level_do_no_harm(tmp_path: Path) -> None:
    index = index_folder(write_splits(tmp_path, "train", "val"))
    for folder in ("", "train", "train/cat", "val"):
        write_names(tmp_path / folder / ".thumbnails", 3)
        write_names(tmp_path / folder / "__MACOSX", 3)
        (tmp_path / folder / ".DS_Store").touch()
        (tmp_path / folder / "Thumbs.db").touch()
    for folder in ("", "train"):
        (tmp_path / folder / "preview.png").touch()
        (tmp_path / folder / "README.txt").touch()
    again = index_folder(tmp_path)
    assert again.splits == index.splits
    assert "2 images in no class folder (for example preview.png)" in again.left_out


def test_other_formats_are_told_with_number_and_example(root: Path) -> None:
    for number in range(3):
        (root / "cat" / f"IMG_{number}.HEIC").touch()
    (root / "dog" / "notes").touch()
    (root / "labels.csv").touch()
    assert index_folder(root).left_out == (
        "4 files of other formats (3 .heic, 1 without suffix; for example cat/IMG_0.HEIC)"
    )


def test_links_in_circles_end_and_count_no_image_twice(root: Path) -> None:
    (root / "cat" / "latest").symlink_to(".")
    (root / "cat" / "all").symlink_to("..")
    (root / "newest").symlink_to(".")
    (root / "dog" / "itself.png").symlink_to("000.png")
    write_names(root / "dog" / "a", 3)
    (root / "dog" / "b").symlink_to("a")
    (root / "dog" / "a" / "c").symlink_to("../b")
    index = index_folder(root)
    assert index.class_names == ("cat", "dog")
    files = real_files(index)
    assert len(files) == len(set(files)) == 2 * PER_CLASS + 3


def test_folders_that_all_link_to_each_other_are_read_quickly(root: Path) -> None:
    names = [f"{number:02}" for number in range(12)]
    for name in names:
        (root / "cat" / "x" / name).mkdir(parents=True)
        for other in names:
            (root / "cat" / "x" / name / f"to-{other}").symlink_to(f"../{other}")
    assert sum(counts(index_folder(root)).values()) == 2 * PER_CLASS


def test_a_linked_class_folder_is_used(root: Path, tmp_path: Path) -> None:
    (root / "dog").rename(tmp_path / "elsewhere")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    assert sum(counts(index_folder(root)).values()) == 2 * PER_CLASS


def test_a_file_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, "train")
    (tmp_path / "val").symlink_to("train")
    said = "train/cat/000.png and val/cat/000.png are the same file, in two splits"
    assert said in refused(tmp_path)


def test_a_file_in_two_classes_is_refused(root: Path) -> None:
    (root / "cat" / "more").symlink_to("../dog")
    said = "cat/more/000.png and dog/000.png are the same file, in two classes"
    assert said in refused(root)


def test_pipes_are_not_images(root: Path) -> None:
    os.mkfifo(root / "cat" / "pipe.png")
    (root / "cat" / "link.png").symlink_to("pipe.png")
    assert sum(counts(index_folder(root)).values()) == 2 * PER_CLASS


def test_names_that_are_not_utf8_are_used_and_shown_escaped(tmp_path: Path) -> None:
    write_splits(tmp_path)
    kitten = tmp_path / os.fsdecode(b"k\xe4tzchen")
    (tmp_path / "cat").rename(kitten)
    (tmp_path / "dog" / "007.png").rename(tmp_path / "dog" / os.fsdecode(b"stra\xdfe.png"))
    index = index_folder(tmp_path)
    assert sum(counts(index).values()) == 2 * PER_CLASS
    for path in kitten.iterdir():
        path.unlink()
    assert rf"class folder {tmp_path}/k\xe4tzchen has no images" in refused(tmp_path)


def test_control_characters_in_names_are_escaped(tmp_path: Path) -> None:
    root = write_splits(tmp_path / "a\x1b[31m\nb")
    shutil.rmtree(root / "dog")
    assert r"a\x1b[31m\nb has one class only" in refused(root)
    (root / "dog").mkdir()
    assert r"a\x1b[31m\nb/dog has no images" in refused(root)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path / "none") == f"data folder {tmp_path / 'none'} does not exist"


def test_a_file_instead_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_text("")
    assert "is a file, not a folder" in refused(tmp_path / "images.zip")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "has no class folders" in refused(tmp_path)


def test_images_without_class_folders_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert "has images but no class folders" in refused(tmp_path)


def test_an_empty_class_folder_is_refused(root: Path) -> None:
    (root / "emu").mkdir()
    (root / "emu" / "notes.txt").write_text("none yet")
    assert f"class folder {root / 'emu'} has no images (bmp, gif, jpeg," in refused(root)


def test_one_class_only_is_refused(root: Path) -> None:
    shutil.rmtree(root / "dog")
    assert "has one class only, 'cat'" in refused(root)


def test_a_split_too_small_is_refused(tmp_path: Path) -> None:
    write_splits(tmp_path, count=30)
    assert "the val split has 8 images, at least 20 are needed" in refused(tmp_path)


def test_a_split_without_a_class_is_refused(root: Path) -> None:
    write_names(root / "emu", 1)
    assert "the train split has no image of class 'emu'" in refused(root)


@pytest.fixture
def closed(root: Path):
    """Closes a folder to this user; root, to whom none is closed, reads as another meanwhile."""
    # Another user must reach it: all but "/" and the folder of temporary files.
    above = root.parents[: len(root.parts) - 3] if os.getuid() == 0 else ()
    modes = {folder: folder.stat().st_mode for folder in above}

    def close(folder: Path) -> None:
        modes[folder] = folder.stat().st_mode
        for each in above:
            each.chmod(0o755)
        folder.chmod(0)
        if os.getuid() == 0:
            os.seteuid(65534)

    yield close
    if os.getuid() == 0:
        os.seteuid(0)
    for folder, mode in modes.items():
        folder.chmod(mode)


def test_a_folder_that_cannot_be_read_is_told(root: Path, closed) -> None:
    write_names(root / "cat" / "private", 5)
    closed(root / "cat" / "private")
    index = index_folder(root)
    assert sum(counts(index).values()) == 2 * PER_CLASS
    assert index.left_out == (
        "1 folder that cannot be read (for example cat/private: Permission denied)"
    )


def test_a_class_folder_that_cannot_be_read_is_refused(root: Path, closed) -> None:
    closed(root / "dog")
    assert f"class folder {root / 'dog'} cannot be read: Permission denied" in refused(root)
