"""Files as people have them: byte order marks, foreign encodings, quotes, and every way to be malformed."""

from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from fewshot_sft.errors import UserError
from fewshot_sft.readers import read_table


def read(path, **options):
    return read_table(path, "text", "label", **options)


def message(path, **options) -> str:
    with pytest.raises(UserError) as error:
        read(path, **options)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain.csv", 'id,text,label\n1,one,A\n2,"two, ""quoted""\nand more",B\n'),
        ("crlf.csv", 'id,text,label\r\n1,one,A\r\n2,"two, ""quoted""\r\nand more",B\r\n'),
        ("bom.csv", '\ufefftext,label\none,A\n\n"two, ""quoted""\nand more",B'),
        ("UPPER.CSV", 'text,label\none,A\n"two, ""quoted""\nand more",B'),
        ("tabs.tsv", 'text\tlabel\none\tA\n"two, ""quoted""\nand more"\tB\n'),
        ("list.json", json.dumps([{"text": "one", "label": "A"}, {"label": "B", "text": 'two, "quoted"\nand more'}])),
        (
            "lines.jsonl",
            '\ufeff{"text": "one", "label": "A"}\r\n\r\n{"text": "two, \\"quoted\\"\\nand more", "label": "B"}',
        ),
    ],
)
def test_formats_give_the_same_rows(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode())

    table = read(path)

    assert table.texts == ["one", 'two, "quoted"\nand more']
    assert table.labels == ["A", "B"]


def test_rows_are_named_with_the_line_on_which_they_start(folder):
    path = folder / "x.csv"
    path.write_text('text,label\n\n"a\nb\nc",A\nlast,B\n')

    table = read(path)

    assert table.at(0) == f"{path}: row 1 (line 3)"
    assert table.at(1) == f"{path}: row 2 (line 6)"


def test_parquet_with_integers_and_declared_names(folder):
    path = folder / "label=x" / "data.parquet"  # a folder that pyarrow's data set reader would take for a partition
    path.parent.mkdir()
    names = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"text": ["one", None], "label": [1, 0], "other": [0.5, 1.5]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(names)}), path)

    found = read(path)

    assert (found.texts, found.labels, found.label_names) == (["one", None], [1, 0], ["no", "yes"])
    assert found.at(1) == f"{path}: row 2"


def test_parquet_without_declared_names(folder):
    pyarrow.parquet.write_table(pyarrow.table({"text": ["one"], "label": ["A"]}), folder / "x.parquet")

    assert read(folder / "x.parquet").label_names is None


def test_a_field_longer_than_the_csv_default_limit(folder):
    path = folder / "x.csv"
    path.write_text(f"text,label\n{'word ' * 40_000},A\n")

    assert len(read(path).texts[0]) == 200_000


def test_another_encoding_by_name(folder):
    path = folder / "x.csv"
    path.write_bytes("text,label\n一种图像传感器,电学\n".encode("gb18030"))

    assert read(path, encoding="gb18030").texts == ["一种图像传感器"]


def test_not_utf8_names_the_line_and_how_to_convert(folder):
    path = folder / "x.csv"
    path.write_bytes("text,label\n一种图像传感器,电学\n".encode("gb18030"))

    assert message(path) == (
        f"{path}: line 2 (byte 13): not utf-8; convert it: iconv -f gb18030 -t utf-8 '{path}' > utf8.csv, or name the "
        f"encoding that it has: --encoding gb18030 (most Chinese files), --encoding cp1252 (most Western ones)"
    )


def test_byte_number_counts_the_byte_order_mark(folder):
    path = folder / "x.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\n\xff,A\n")

    assert message(path).startswith(f"{path}: line 2 (byte 14): not utf-8;")


def test_utf16(folder):
    path = folder / "x.csv"
    path.write_bytes("text,label\none,A\n".encode("utf-16"))

    assert message(path) == f"{path}: UTF-16, not UTF-8; convert it: iconv -f utf-16 -t utf-8 '{path}' > utf8.csv"


def test_unknown_encoding(folder):
    path = folder / "x.csv"
    path.write_text("text,label\none,A\n")

    assert message(path, encoding="klingon") == (
        "--encoding klingon: no such encoding; common ones are utf-8, gb18030, cp1252"
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.csv", "", "the file is empty"),
        ("x.csv", " \n\n", "the file is empty"),
        ("x.csv", "text,label\n", "no rows in the file"),
        ("x.json", "[]", "no rows in the file"),
        ("x.parquet", "", "the file is empty"),
        ("x.xlsx", "PK", "unknown format; the name must end in .csv, .tsv, .json, .jsonl or .parquet"),
        (
            "x.csv",
            "body,label\na,A\n",
            'no column "text"; the columns are "body", "label"; name one with --text-column',
        ),
        (
            "x.csv",
            "text,kind\na,A\n",
            'no column "label"; the columns are "text", "kind"; name one with --label-column',
        ),
        (
            "x.csv",
            f"{'A text without any header above it ' * 3},A\n",
            'no column "text"; the columns are "A text without any header above it A te…", "A"; '
            "name one with --text-column",
        ),
        ("x.csv", "text,label,text\na,A,b\n", '2 columns are named "text"; rename all but one'),
        (
            "x.csv",
            "text,label\none,A\ntwo, too,B\n",
            "row 2 (line 3): 3 fields, the header has 2; a field that holds the delimiter or a line break goes in "
            "double quotes",
        ),
        ("x.csv", "text,label\none\n", "row 1 (line 2): 1 fields, the header has 2"),
        (
            "x.csv",
            'text,label\none,A\n"never closed,B\nthree,C\n',
            "the row that starts at line 3 is malformed (unexpected end of data); a field with quotes in it is "
            'enclosed in quotes and each inner quote doubled: "say ""yes"""',
        ),
        (
            "x.csv",
            'text,label\n"say "yes"",A\n',
            "the row that starts at line 2 is malformed (',' expected after '\"')",
        ),
        ("x.json", '[{"text": "a",}]', "line 1: not valid JSON ("),
        (
            "x.json",
            '{"text": "a", "label": "A"}\n{"text": "b", "label": "B"}\n',
            "line 2: not valid JSON (Extra data); one object a line is JSON Lines: name it .jsonl",
        ),
        ("x.json", '{"text": ["a"]}', "expected a list of objects, found an object"),
        ("x.json", '[{"text": "a", "label": "A"}, ["b", "B"]]', "row 2: expected an object, found a list"),
        ("x.json", '[{"body": "a"}]', 'no column "text"; the columns are "body"; name one with --text-column'),
        (
            "x.jsonl",
            '{"text": "a", "label": "A"}\n\n{"text": b}\n',
            "line 3: not valid JSON (Expecting value, column 10)",
        ),
        ("x.jsonl", '{"text": "a", "label": "A"}\n7\n', "row 2 (line 2): expected an object, found a number"),
        ("x.parquet", "not parquet at all", "not a readable Parquet file ("),
    ],
)
def test_bad_files(folder, name, content, expected):
    path = folder / name
    path.write_text(content)

    assert message(path).startswith(f"{path}: {expected}")


def test_missing_file_and_folder(folder):
    assert message(folder / "none.csv") == f"{folder / 'none.csv'}: no such file"
    assert message(folder / "none.parquet") == f"{folder / 'none.parquet'}: no such file"
    (folder / "dir.csv").mkdir()
    assert message(folder / "dir.csv") == f"{folder / 'dir.csv'}: is a folder, a file was expected"


def test_one_column_for_both(folder):
    path = folder / "x.csv"
    path.write_text("text,label\none,A\n")

    with pytest.raises(UserError, match='--text-column and --label-column both name "text"; name two columns of'):
        read_table(path, "text", "text")
