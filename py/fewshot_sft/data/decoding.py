"""The bytes of a user's file, and their text: UTF-8, or an encoding that is found or given. Never a silent guess."""

from __future__ import annotations

import codecs
import gzip
import re
import shlex
import zlib
from collections import Counter
from pathlib import Path

from ..errors import UserError

ADVICE = {
    "spreadsheet": "is a spreadsheet; save it as CSV (Excel: CSV UTF-8) and give that file",
    "archive": "is an archive; unpack it (unzip, tar -xf, xz -d, bzip2 -d, zstd -d) and give the file that is in it",
    "database": "is a database; write its table as CSV (sqlite3 -header -csv FILE 'select * from TABLE') and give that",
    "program": "is the format of a program; write CSV, JSON Lines or Parquet with it (pandas: to_csv) and give that",
    "page": "is a web page, not data; download the file itself (GitHub: the link Raw)",
    "pointer": "is Git LFS's pointer to a file, not the file; get it with git lfs pull, or download it again",
    "parquet": "is a Parquet file; give it a name that ends in .parquet",
}
KINDS = {
    "spreadsheet": "xlsx xls xlsm xlsb ods numbers",
    "archive": "zip xz bz2 zst 7z rar tar tgz tbz2 txz lz4",
    "database": "db sqlite sqlite3 duckdb",
    "program": "arrow feather pkl pickle npy npz pt h5 hdf5 rds rdata sav dta mat orc avro xml yaml yml doc docx pdf",
    "page": "html htm",
}
BY_SUFFIX = {f".{suffix}": kind for kind, suffixes in KINDS.items() for suffix in suffixes.split()}
# What a file is by its first bytes, whatever its name says.
BY_CONTENT = {
    b"PK\x03\x04": "archive",
    b"\xfd7zXZ\0": "archive",
    b"BZh": "archive",
    b"\x28\xb5\x2f\xfd": "archive",
    b"7z\xbc\xaf": "archive",
    b"Rar!": "archive",
    b"\xd0\xcf\x11\xe0": "spreadsheet",
    b"SQLite format 3\0": "database",
    b"PAR1": "parquet",
    b"ARROW1": "program",
    b"%PDF": "program",
    b"<!doctype html": "page",
    b"<html": "page",
    b"version https://git-lfs": "pointer",
}
BOMS = {  # UTF-32's begins with UTF-16's
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def read_bytes(path: Path) -> bytes:
    """Return a file's content, unpacked if it is a gzip file.

    Raises:
        UserError: there is no such file, or it is of a kind that holds no table that is read here.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UserError(_missing(path)) from None
    except IsADirectoryError:
        raise UserError(
            f"{path}: is a folder, a file was expected; for a folder of a data set's files set "
            f"DATASET={shlex.quote(str(path))} in place of it, or join them to one file"
        ) from None
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a whole gzip file ({error}); get it again") from None
    head = content[:64].lstrip()
    kinds = (kind for magic, kind in BY_CONTENT.items() if head.startswith(magic) or head.lower().startswith(magic))
    kind = next(kinds, None)
    if kind == "archive" and BY_SUFFIX.get(path.suffix.lower()) in ("spreadsheet", "program"):
        kind = BY_SUFFIX[path.suffix.lower()]  # .xlsx and .docx are ZIP archives
    if kind == "parquet" and path.suffix.lower() == ".parquet":
        kind = None
    if kind:
        raise UserError(f"{path}: {ADVICE[kind]}")
    return content


def _missing(path: Path) -> str:
    # A path has lost one of the URL's slashes, and stands behind the current folder.
    url = re.search(r"(?:^|/)(https?|ftp|hf|s3|gs|file):/+(.*)", str(path))
    if url is None:
        return f"{path}: no such file" + ("; give one file, not a pattern" if "*" in path.name else "")
    scheme, rest = url.groups()
    if scheme == "hf":
        name = "/".join(rest.removeprefix("datasets/").split("/")[:2])
        return f"hf://{rest}: is on the hub; set DATASET={name} in place of it, or download the file and give that"
    return f"{scheme}://{rest}: is a URL; download it (curl -LO {scheme}://{rest}) and give the file"


def decode(path: Path, content: bytes, encoding: str = "auto", mend: str = "") -> tuple[str, str]:
    """Return the text of a file's content, every line end as a single line feed, and the encoding that it has.

    With "auto" that is UTF-8, or what a byte order mark says; else GB 18030 or Windows-1252 if the text is by all
    signs Chinese or Western European in it, and in it only. What is not that sure is refused.

    Args:
        path: the file, for messages.
        content: its bytes.
        encoding: a name that Python knows, or "auto".
        mend: what to do about an encoding that cannot be told; the setting ENCODING when empty.

    Raises:
        UserError: the text is empty, not in ``encoding``, or in none that is sure.
    """
    name = _found(path, content, mend) if encoding == "auto" else _checked(path, content, encoding)
    try:
        text = content.decode(name)
    except UnicodeError as error:
        start = getattr(error, "start", 0)
        raise UserError(
            f"{path}: line {_line(content, start)} (byte {start}): not {name}; leave ENCODING empty to have it found, "
            f"or name another, such as ENCODING=gb18030 or ENCODING=cp1252"
        ) from None
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise UserError(f"{path}: the file is empty")
    if "\0" in text:
        raise UserError(
            f"{path}: line {text.partition(chr(0))[0].count(chr(10)) + 1}: a zero byte; the file is damaged or no "
            f"text, unless it is UTF-16 without a mark (then ENCODING=utf-16-le)"
        )
    return text, name


def lost(text: str) -> str:
    """Return a note about characters that an earlier conversion has lost or garbled, or nothing."""
    found = re.search("\ufffd|Ã[\x80-¿]|â€|ï¿½|锟斤拷", text)
    if found is None:
        return ""
    return (
        f'characters were garbled before, such as "{found.group()}" in line {text.count(chr(10), 0, found.start()) + 1}'
    )


def _checked(path: Path, content: bytes, encoding: str) -> str:
    """Return the name of the encoding that was asked for, if there is such a one and the content may be in it."""
    try:
        name = codecs.lookup(encoding).name
        "".encode(name)
    except (LookupError, ValueError):
        raise UserError(f"ENCODING={encoding}: no such encoding; common ones are utf-8, gb18030, cp1252") from None
    # Most bytes of UTF-8 are characters of these encodings too, wrong ones.
    if not name.startswith("utf") and not content.isascii() and _is(content, "utf-8"):
        raise UserError(f"{path}: is UTF-8, not {name}; leave ENCODING empty, the encoding of each file is found")
    return name


def _found(path: Path, content: bytes, mend: str) -> str:
    for mark, name in BOMS.items():
        if content.startswith(mark):
            return name
    mend = mend or (
        "name it: ENCODING=gb18030 (most Chinese files), ENCODING=cp1252 (most Western ones), or what else it is in "
        "(big5, shift_jis, euc_kr, cp1250, cp1251, ...)"
    )
    if re.search(rb"\x1b[$(]", content):  # bytes of ASCII alone, but not its text
        raise UserError(f"{path}: seems to be in an encoding of the kind ISO-2022; name it: ENCODING=iso2022_jp")
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        where = f"{path}: line {_line(content, error.start)} (byte {error.start})"
    rest = Counter(char == "\ufffd" for char in content.decode("utf-8", errors="replace") if char > "\x7f")
    if rest[False] >= rest[True]:
        raise UserError(f"{where}: not UTF-8, but the rest is; the file is damaged or of two encodings: mend it")
    surely, maybe = _chinese(content)
    if surely:
        return "gb18030"
    if not maybe and _is_western(content):
        return "cp1252"
    raise UserError(f"{where}: not UTF-8, and what else cannot be told for sure; {mend}")


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _is(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


COMMON = set("的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里")


def _chinese(content: bytes) -> tuple[bool, bool]:
    """Return whether the content is surely, or maybe, simplified Chinese in GB 18030.

    Maybe: nine in ten of its characters are of GB 2312's first level, the 3755 common ones, or full-width signs. Korean
    in EUC-KR looks the same but has nothing in the upper part of that level, and hardly ever the most common ones.
    """
    if not _is(content, "gb18030"):
        return False, False
    counts = Counter(char for char in content.decode("gb18030") if char > "\x7f")
    lead = {char: char.encode("gb2312", errors="ignore")[:1] for char in counts}
    first = {char: number for char, number in counts.items() if b"\xb0" <= lead[char] <= b"\xd7"}
    level, signs = (
        sum(first.values()),
        sum(number for char, number in counts.items() if lead[char] in (b"\xa1", b"\xa3")),
    )
    maybe = level > 0 and level + signs >= 0.9 * counts.total()
    upper = sum(number for char, number in first.items() if lead[char] >= b"\xc9")
    common = sum(number for char, number in first.items() if char in COMMON)
    return maybe and upper >= 0.1 * level and common >= 0.04 * level, maybe


LETTERS = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜßàáâãäåæçèéêëìíîïñòóôõöøùúûüÿŒœŸ"
SIGNS = "€‚„…‘’“”•–—™\xa0¡¢£¥§©ª«®°±²³´µ·¹º»¼½¾¿×÷\xad†‡‰‹›"
_L = f"[A-Za-z{LETTERS}]"
# What no Western European text has. In a text of another encoding that is read as Windows-1252 it is everywhere.
NOT_WESTERN = re.compile(
    f"[^\x00-\x7f{LETTERS}{SIGNS}]"  # letters and signs that hardly occur, such as ð, ¤ and ž
    f"|[{LETTERS}]{{3}}"  # Cyrillic, Greek
    f"|[a-zß-ÿ][À-ÝŒ]"  # a capital in the middle of a word
    f"|{_L}[^\x00-\x7f{LETTERS}’‘´·–—…\xa0\xad/]{_L}"  # a sign in the middle of a word: Polish, DOS, Korean
    f"|{_L}[‚„¡¿¼½¾]|[¹²³¼½¾]{_L}"  # a sign at the wrong end of it
    f"|(?<!{_L})[{LETTERS}][0-9]|[0-9][øØ]"  # a letter at a number: £ and ° of DOS
)


def _is_western(content: bytes) -> bool:
    """Return whether the content, read as Windows-1252, has only what Western European texts have."""
    if not _is(content, "cp1252"):
        return False
    text = content.decode("cp1252")
    letters = Counter(char.isascii() for char in text if char.isalpha())
    hungarian = re.search("[õÕ]", text) and not re.search("[ãÃ]", text)  # its ő, as Windows-1252 has it
    return letters[False] <= 0.25 * letters.total() and not NOT_WESTERN.search(text) and not hungarian
