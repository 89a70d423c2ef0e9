"""Files that went through a spreadsheet or an editor: read as they are meant, or refused."""

from __future__ import annotations

import pytest

from nas.system.text_files import Csv, decoded, parse_csv, read_text

TEXT = "id,latency\nä,1.5\nb,2\n"
CONTENT = Csv(["id", "latency"], [(2, ["ä", "1.5"]), (3, ["b", "2"])])


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        b"\xfe\xff" + TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode(),
        TEXT.rstrip("\n").encode(),
        TEXT.replace(",", ";").encode(),
        TEXT.replace(",", ";").replace(".", ",").encode(),
        TEXT.replace(",", "\t").encode(),
        (TEXT + ",\n\n").encode(),
        TEXT.replace("id,", " id ,").encode(),
    ],
    ids=[
        *("plain", "bom", "utf-16", "utf-16-be", "crlf", "no-newline"),
        *("semicolons", "decimal-commas", "tabs", "empty-rows", "spaces"),
    ],
)
def test_csv_of_any_program_has_the_same_content(tmp_path, data):
    path = tmp_path / "file.csv"
    path.write_bytes(data)
    assert parse_csv(read_text(path)) == CONTENT


def test_decimal_commas_are_numbers_only_between_semicolons():
    assert parse_csv("a\tb\n1,5\t2\n").rows == [(2, ["1,5", "2"])]
    assert parse_csv('a,b\n"1,5",2\n').rows == [(2, ["1,5", "2"])]
    assert parse_csv("a;b;c\n-1,5e-3;x,5;1,2,3\n").rows == [(2, ["-1.5e-3", "x,5", "1,2,3"])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n1\n", "3: 1 cells, expected 2"),
        ("a,b\n1,2,3\n", "2: 3 cells, expected 2"),
        ("a,b,a\n", "1: two columns have the name 'a'"),
        ('a,b\n1,"2\n', "2: not readable as CSV: unexpected end of data"),
    ],
)
def test_csv_that_makes_no_sense_is_refused_by_its_line(text, expected):
    with pytest.raises(ValueError) as refused:
        parse_csv(text)
    assert str(refused.value) == expected


def test_csv_without_content_has_no_columns():
    assert parse_csv("") == parse_csv("\n\n") == Csv([], [])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a\nb \xe9\n", "line 2 is no text in UTF-8: save the file as UTF-8"),
        ("a,b".encode("utf-16-le"), "has zero bytes"),
        (b"\xff\xfe\x00", "line 1 is no text"),
    ],
)
def test_text_in_another_encoding_is_named(data, expected):
    with pytest.raises(ValueError, match=expected):
        decoded(data)


def test_text_that_is_too_large_is_refused(tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(b"12345")
    assert read_text(path, 5) == "12345"
    with pytest.raises(ValueError, match="larger than"):
        read_text(path, 4)
