"""Files as people have them: byte order marks, foreign encodings, quotes, and every way to be malformed."""

from __future__ import annotations

import datetime
import gzip
import json
import re
import subprocess

import pyarrow
import pyarrow.parquet
import pytest

from fewshot_sft.data.readers import read_table, read_text
from fewshot_sft.errors import UserError


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


@pytest.mark.parametrize("column", ["par1", "Bzh", "arrow1"])
def test_a_header_like_a_binary_formats_first_bytes_is_a_header(folder, column):
    path = folder / "x.csv"
    path.write_text(f"{column},label\none,A\n")
    assert read_table(path, column, "label").texts == ["one"]


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


GERMAN = "Die größere Maschine läuft über Nacht; sagt „Frau Müller“ – für 5 € die Stunde"
FRENCH = "L’été dernier l’élève a été déçu : « ça coûte 20 € » dit-il. Où est le cœur de l’œuvre ?"
CHINESE = "这是一个图像传感器的专利，其中包括一种新的方法，可以提高图像的质量。我不喜欢这家餐厅"


def encoded(folder, text, encoding):
    path = folder / "x.csv"
    path.write_bytes(f"text,label\n{text},A\n".encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding", "named"),
    [
        (GERMAN, "cp1252", "cp1252"),
        (FRENCH, "cp1252", "cp1252"),
        ("El niño comió aquí. ¿Qué tal?", "latin-1", "cp1252"),
        ("it costs £50", "cp1252", "cp1252"),
        (CHINESE, "gbk", "gb18030"),
        ("一种图像传感器", "gb18030", "gb18030"),
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8"),
        (CHINESE, "utf-16", "utf-16"),
        (GERMAN, "utf-32", "utf-32"),
    ],
)
def test_the_encoding_is_found_and_said(folder, text, encoding, named):
    table = read(encoded(folder, text, encoding))

    assert table.texts == [text]
    assert table.reading() == f"{folder / 'x.csv'}: 1 rows, read as comma-separated, {named}"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("手机壳", "gb18030"),  # too little of it
        ("這是一個圖像傳感器的專利，可以提高圖像的品質", "big5"),
        ("これは新しい方法の特許です。画像の品質", "shift_jis"),
        ("これは新しい方法の特許です。画像の品質", "euc_jp"),
        ("이미지의 품질을 향상시킬 수 있습니다. 매우 좋았다", "euc_kr"),
        ("Фильм мне очень понравился", "cp1251"),
        ("the word мир means peace", "koi8_r"),
        ("Zażółć gęślą jaźń", "cp1250"),
        ("Příliš žluťoučký kůň", "cp1250"),
        ("nagyon jó film volt, tükörfúrógép, hősnő", "cp1250"),
        ("çok güzel değil, ışık", "cp1254"),
        (GERMAN, "cp850"),
        (FRENCH, "mac_roman"),
        ("it costs £50", "cp850"),
        ("price: 5 €", "iso8859_15"),
        ("it’s naïve", "mac_roman"),
    ],
)
def test_an_encoding_that_is_not_sure_is_refused_with_the_settings_to_try(folder, text, encoding):
    path = folder / "x.csv"
    path.write_bytes(f'text,label\n"{text}",A\n'.encode(encoding, errors="ignore"))

    assert ": not UTF-8, and what else cannot be told for sure; name it: ENCODING=gb18030 (most Chinese" in message(
        path
    )
    assert read(path, encoding=encoding).texts == [path.read_bytes().decode(encoding).split('"')[1]]


@pytest.mark.parametrize(
    ("content", "encoding", "expected"),
    [
        (b"\xef\xbb\xbftext,label\n\xff,A\n", "utf-8", "line 2 (byte 14): not utf-8; leave ENCODING empty to"),
        (
            "text,label\n中文,A\n".encode(),
            "gb18030",
            "is UTF-8, not gb18030; leave ENCODING empty, the encoding of each",
        ),
        ("text,label\n中文中文,A\n".encode()[:-4] + b"\n", "auto", "line 2 (byte 20): not UTF-8, but the rest is; the"),
        (b"text,label\na\0b,A\n", "auto", "line 2: a zero byte; the file is damaged or no text, unless it is UTF-16"),
        (
            "text,label\na,A\n".encode("utf-16-le"),
            "auto",
            "line 1: a zero byte; the file is damaged or no text, unless",
        ),
        (
            "text,label\nカメラ,A\n".encode("iso2022_jp"),
            "auto",
            "seems to be in an encoding of the kind ISO-2022; name",
        ),
    ],
)
def test_bytes_that_are_not_in_the_encoding(folder, content, encoding, expected):
    path = folder / "x.csv"
    path.write_bytes(content)

    assert message(path, encoding=encoding).startswith(f"{path}: {expected}")


@pytest.mark.parametrize("encoding", ["klingon", "hex", "utf-8x"])
def test_unknown_encoding(folder, encoding):
    path = encoded(folder, "one", "utf-8")

    assert message(path, encoding=encoding) == (
        f"ENCODING={encoding}: no such encoding; common ones are utf-8, gb18030, cp1252"
    )


def test_text_that_was_garbled_before_is_told(folder):
    path = encoded(folder, "one\ufffd", "utf-8")

    assert read(path).reading().endswith('utf-8, characters were garbled before, such as "\ufffd" in line 2')


def test_a_labels_file_in_another_encoding_is_to_be_saved_as_utf8(folder):
    path = folder / "labels.txt"
    path.write_bytes("电\n".encode("gbk"))

    with pytest.raises(UserError, match=r"cannot be told for sure; save it as UTF-8$"):
        read_text(path)


@pytest.mark.parametrize(
    ("name", "content", "rows", "how"),
    [
        ("x.csv", "text;label\na, b;A\nc;B\n", [("a, b", "A"), ("c", "B")], ";-separated"),
        ("x.csv", "text\tlabel\na;b\tA\n", [("a;b", "A")], "tab-separated"),
        ("x.txt", "label|text\nA|a\tb\n", [("a\tb", "A")], "|-separated"),
        ("x.tsv", "text,label\na\tb,A\n", [("a\tb", "A")], "comma-separated"),
        ("x.csv", "text,label\na;b;c,A\na\tb|c\td;;,B\n", [("a;b;c", "A"), ("a\tb|c\td;;", "B")], "comma-separated"),
        ("x.csv", "sep=;\ntext;label\na;A\n", [("a", "A")], ";-separated"),
        ("x.csv", " Text ,LABEL\na,A\n", [("a", "A")], "comma-separated"),
        ("x.csv", "text,label\r\ra,A\r", [("a", "A")], "comma-separated"),
        ("x.tsv", "text\tlabel\n\"a\tA\nb\tB\n5\" c 5\"\tA\n", [('"a', "A"), ("b", "B"), ('5" c 5"', "A")],
         "tab-separated, quotes as characters"),
        ("x.tsv", 'text\tlabel\n"a\tA\nb\tB\nc"\tA\n', [('"a', "A"), ("b", "B"), ('c"', "A")],
         "tab-separated, quotes as characters"),
        ("x.tsv", 'text\tlabel\n"Wow" he said\tA\n"Fine"\tB\nok\tA\n',
         [('"Wow" he said', "A"), ('"Fine"', "B"), ("ok", "A")], "tab-separated, quotes as characters"),
        ("x.tsv", 'text\tlabel\n"a ""b"""\tA\nc\tB\n', [('a "b"', "A"), ("c", "B")], "tab-separated, quoted fields"),
        ("x.tsv", 'text\tlabel\n"a"\tA\n"c"\tB\n', [("a", "A"), ("c", "B")], "tab-separated, quoted fields"),
        ("x.tsv", 'text\tlabel\n"a, b"\tA\nc\tB\n', [("a, b", "A"), ("c", "B")], "tab-separated, quoted fields"),
        ("x.tsv", 'text\tlabel\n"a\nb"\tA\nc\tB\n', [("a\nb", "A"), ("c", "B")],
         "tab-separated, quoted fields, utf-8, 1 with line breaks (the first in line 2)"),
        ("x.csv", 'text,label\n"Hi, you\nthere, A man",A\nc,B\n', [("Hi, you\nthere, A man", "A"), ("c", "B")],
         "comma-separated, quoted fields, utf-8, 1 with line breaks (the first in line 2)"),
        ("x.csv", 'text,label\n"a \\"b\\", c",A\n"d, e",B\n', [('a "b", c', "A"), ("d, e", "B")],
         "comma-separated, quotes after backslashes"),
        ("x.csv", 'text,label\n5" of 6" a,A\n"c, d",B\n', [('5" of 6" a', "A"), ("c, d", "B")],
         "comma-separated, quoted fields"),
    ],
)  # fmt: skip
def test_delimiter_and_quotes_are_found_from_the_whole_file(folder, name, content, rows, how):
    path = folder / name
    path.write_bytes(content.encode())

    table = read(path)

    assert list(zip(table.texts, table.labels, strict=True)) == rows
    assert table.reading().partition(" read as ")[2] == (how if "utf-8" in how else f"{how}, utf-8")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        # Swallowed rows: by a known label; in a file in which every line fits; in one with tabs.
        ("x.csv", 'text,label\n"x, y",A\nb,B\n"c,A\nd,B\ne",A\n', "row 3 (line 4): a quote that is not closed takes"),
        ("x.csv", 'text,label\na,A\n"b,B\nc",A\n', "row 2 (line 3): a quote that is not closed takes"),
        ("x.csv", 'label,text\nA,"x, y"\nA,"b\nA,c\nB,d"\n', "row 2 (line 3): a quote that is not closed takes"),
        ("x.csv", 'id,text,label\n1,"x, y",A\n2,"b,A\n3,c",A\n', "row 2 (line 3): a quote that is not closed takes"),
        ("x.tsv", 'text\tlabel\n"a\nb"\tA\n"c\tC\nd\tD\ne"\tA\n', "row 2 (line 4): a quote that is not closed takes"),
        ("x.tsv", 'text\tlabel\n"a ""b"""\tA\n"c\tB\n', "the row that starts at line 3 is malformed"),
        ("x.tsv", 'text\tlabel\n"a"\tA\n"b"\tA\n"c\tB\nd"\tA\n', "row 3 (line 4): a quote that is not closed takes"),
        # It fits either way: one row with a tab and a line break in its text, or two without quoting.
        ("x.tsv", 'text\tlabel\n"a\tC\nb"\tA\n', "row 1 (line 2): a quote that is not closed takes"),
        ("x.tsv", "text\tlabel\na\tA\nb\tc\tB\n", "row 2 (line 3): 3 fields, the header has 2;"),
        ("x.csv", "text,label\na,A,\nb,B,\n", "every row has 3 fields, the header 2; it lacks the name of a column:"),
        ("x.csv", "text,label\na,A\ntext,label\nb,B\n", "row 2 (line 3) is the header again; remove it"),
        ("x.csv", "a,A\nb,B\nc,A\n", "no header, the first line is a row like the others; put a line"),
        ("x.txt", "A\ta a\nB\tb b\nA\tc c\n", "no header, the first line is a row like the others; put a line"),
        ("x.txt", "__label__A a b\n__label__B c\n", "fastText's format; make a table of it: (printf "),
        ("x.csv", "Text,TEXT,label\na,b,A\n", '2 columns are named "text"; rename all but one'),
    ],
)  # fmt: skip
def test_rows_that_fit_no_reading_are_refused_with_row_and_reason(folder, name, content, expected):
    path = folder / name
    path.write_text(content)

    assert message(path).startswith(f"{path}: {expected}")


def test_what_a_message_says_to_run_makes_a_file_that_can_be_read(folder):
    for name, content in (("a.txt", "__label__A a b\n__label__B c\n"), ("b.csv", "a b,A\nc,B\nd,A\n")):
        path = folder / name
        path.write_text(content)
        command = re.search(r"\(printf .*", message(path))[0]
        subprocess.run(["bash", "-c", command], cwd=folder, check=True)
    assert (read(folder / "table.tsv").texts, read(folder / "table.csv").texts) == (["a b", "c"], ["a b", "c", "d"])


def test_a_delimiter_by_name(folder):
    path = folder / "x.csv"
    path.write_text("text~label\na\tb~A\n")

    assert read(path, delimiter="~").texts == ["a\tb"]
    path.write_text("text\tlabel\na\tA\n")
    assert read(path, delimiter="tab").texts == read(path, delimiter="\\t").texts == ["a"]
    assert 'no column "text"; the columns are "text label"' in message(path, delimiter=",")
    assert message(path, delimiter="||") == "DELIMITER=||: it must be one character such as ; or |, tab, or auto"


@pytest.mark.parametrize(
    "value",
    [
        {"text": ["a", "b"], "label": ["A", "B"]},
        {"text": {"0": "a", "1": "b"}, "label": {"0": "A", "1": "B"}},
        {"0": {"text": "a", "label": "A"}, "1": {"text": "b", "label": "B"}},
        {"columns": ["text", "label"], "index": [0, 1], "data": [["a", "A"], ["b", "B"]]},
        {"version": 1, "data": [{"text": "a", "label": "A"}, {"text": "b", "label": "B"}]},
    ],
)
def test_json_of_pandas_and_of_one_table(folder, value):
    (folder / "x.json").write_text(json.dumps(value))

    table = read(folder / "x.json")

    assert (table.texts, table.labels) == (["a", "b"], ["A", "B"])


@pytest.mark.parametrize(
    ("name", "content", "is_plain"),
    [
        ("x.csv", b'text,label\n"a, b",A\n', True),
        ("x.tsv.gz", gzip.compress(b"text\tlabel\na\tA\n"), True),
        ("x.jsonl", b'{"text": "a", "label": "A"}', True),
        ("x.tsv", b'text\tlabel\n"a, b"\tA\n', False),
        ("x.txt", b"text,label\na,A\n", False),
        ("x.csv", "text,label\na,A\n".encode("utf-16"), False),
        ("x.csv", b'text,label\n"a\nb",A\n', False),
    ],
)
def test_what_is_read_as_the_name_promises_needs_no_word(folder, name, content, is_plain):
    (folder / name).write_bytes(content)

    assert read(folder / name).is_plain() == is_plain


@pytest.mark.parametrize("name", ["x.json", "x.jsonl"])
def test_json_objects_one_after_the_other(folder, name):
    path = folder / name
    path.write_text('{"text": "a",\n "label": "A"}{"text": "b", "label": "B"}\n\n{"label": "A"}\n')

    table = read(path)

    assert (table.texts, table.labels, table.lines) == (["a", "b", None], ["A", "B", "A"], [1, 2, 4])


def test_a_gzip_file(folder):
    (folder / "x.csv.gz").write_bytes(gzip.compress("text,label\n中文,A\n".encode()))

    assert read(folder / "x.csv.gz").texts == ["中文"]


def parquet(folder, texts, labels, names=None):
    metadata = {"huggingface": json.dumps({"info": {"features": {"label": names}}})} if names else None
    pyarrow.parquet.write_table(
        pyarrow.table({"text": texts, "label": labels}).replace_schema_metadata(metadata), folder / "x.parquet"
    )
    return folder / "x.parquet"


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary(3), pyarrow.string_view()])
def test_parquet_with_other_kinds_of_text(folder, kind):
    values = pyarrow.array(["一".encode(), b"abc"]).cast(kind)

    assert read(parquet(folder, values, values.dictionary_encode() if kind == "binary" else values)).labels == [
        "一",
        "abc",
    ]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (
            [[0], [1]],
            'column "label" holds list<element: int64>, but each row needs one text and one label; where rows',
        ),
        ([{"a": 1}, {"a": 2}], 'column "label" holds struct<a: int64>, but each row needs one text and one label'),
        ([datetime.date(2020, 1, 1)] * 2, 'column "label" holds date32[day]; write it as text'),
        ([b"\xff", b"a"], 'column "label": row 1: bytes that are not UTF-8; write it as text'),
    ],
)
def test_parquet_with_labels_that_are_none(folder, labels, expected):
    path = parquet(folder, ["a", "b"], labels, [{"names": ["x"], "_type": "ClassLabel"}])  # as datasets 2 has lists

    assert message(path).startswith(f"{path}: {expected}")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("x.csv", "", "the file is empty"),
        ("x.csv", " \n\n", "the file is empty"),
        ("x.csv", "text,label\n", "no rows in the file"),
        ("x.json", "[]", "no rows in the file"),
        ("x.parquet", "", "the file is empty"),
        ("x.log", "PK", "unknown format; the name must end in .csv, .tsv, .txt, .json, .jsonl (each also with .gz) or"),
        ("x.xlsx", "PK", "is a spreadsheet; save it as CSV (Excel: CSV UTF-8) and give that file"),
        ("x.xlsx", "PK\x03\x04", "is a spreadsheet; save it as CSV"),
        ("x.csv", "PK\x03\x04", "is an archive; unpack it (unzip, "),
        ("x.csv.xz", "a", "is an archive; unpack it"),
        ("x.db", "a", "is a database; write its table as CSV"),
        ("x.csv", "\n<!DOCTYPE HTML>", "is a web page, not data; download the file itself"),
        ("x.parquet", "version https://git-lfs.github.com/spec/v1\n", "is Git LFS's pointer to a file, not the file"),
        ("x.csv", "PAR1", "is a Parquet file; give it a name that ends in .parquet"),
        (
            "x.csv",
            "body,label\na,A\n",
            'no column "text"; the columns are "body", "label"; name one with TEXT_COLUMN=...',
        ),
        (
            "x.csv",
            "text,kind\na,A\n",
            'no column "label"; the columns are "text", "kind"; name one with LABEL_COLUMN=...',
        ),
        (
            "x.csv",
            f"{'A text without any header above it ' * 3},A\n",
            'no column "text"; the columns are "A text without any header above it A te…", "A"; '
            "name one with TEXT_COLUMN=...",
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
        ("x.json", '{"text": ["a"], "label": []}', 'its columns differ in length: {"text": 1, "label": 0}'),
        (
            "x.json",
            '{"train": [{"text": "a"}], "test": [{"text": "b"}]}',
            "holds several tables, train, test; write each to",
        ),
        ("x.json", '[{"text": "a", "text": "b"}]', 'line 1: not valid JSON (an object has the key "text" twice)'),
        ("x.json", "[" * 100_000, "line 1: not valid JSON ("),
        (
            "x.json",
            '[{"instruction": "a", "output": "b"}]',
            'no column "text"; the columns are "instruction", "output"; in '
            "Alpaca's format set TEXT_COLUMN=input LABEL_COLUMN=output",
        ),
        (
            "x.jsonl",
            '{"messages": []}\n{"messages": []}',
            'no column "text"; the columns are "messages"; "messages" holds chats; write an',
        ),
        (
            "x.jsonl",
            '{"data": {"text": "a"}}\n{"data": 1}',
            'no column "text"; the columns are "data"; "data" holds objects',
        ),
        ("x.json", '{"text": ["a"], "b": 1}', "expected a list of objects, found an object with the keys text, b"),
        ("x.json", '[{"text": "a", "label": "A"}, ["b", "B"]]', "row 2: expected an object, found a list"),
        ("x.json", '[{"body": "a"}]', 'no column "text"; the columns are "body"; name one with TEXT_COLUMN=...'),
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
    assert message(folder / "dir.csv") == (
        f"{folder / 'dir.csv'}: is a folder, a file was expected; for a folder of a data set's files set "
        f"DATASET='{folder / 'dir.csv'}' in place of it, or join them to one file"
    )
    assert message(folder / "https:/x.org/a.csv") == (
        "https://x.org/a.csv: is a URL; download it (curl -LO https://x.org/a.csv) and give the file"
    )
    assert "set DATASET=me/set in place of it" in message(folder / "hf:/datasets/me/set/a.csv")


def test_one_column_for_both(folder):
    path = folder / "x.csv"
    path.write_text("text,label\none,A\n")

    with pytest.raises(UserError, match='TEXT_COLUMN and LABEL_COLUMN both name "text"; name two columns of'):
        read_table(path, "text", "text")
