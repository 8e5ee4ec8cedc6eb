import gzip
import io
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfbert.errors import InputError
from tfbert.text import corpus
from tfbert.text.corpus import find_sources, read_documents, text_size

# Lines without line breaks of any kind, as one editor or another knows them.
lines = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30).map(
    lambda line: line.replace("<", "").replace("\u2028", " ").replace("\ufeff", "")
)
# Documents as lists of lines.
documents = st.lists(st.lists(lines.filter(str.strip), min_size=1, max_size=4), max_size=5)


@pytest.fixture(scope="module")
def parts_of(tmp_path_factory):
    """The parts of documents in a file with this content, a string or bytes."""
    folder = tmp_path_factory.mktemp("corpus")

    def parts_of(content, form="line", name="text", **options):
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return list(read_documents([str(path)], form, **options))

    return parts_of


@pytest.mark.parametrize("form", ["line", "blank", "file"])
@settings(deadline=None)
@given(
    documents=documents,
    blank_lines=st.integers(1, 3),
    packed=st.booleans(),
    crlf=st.booleans(),
    bom=st.booleans(),
)
def test_where_documents_end(form, documents, blank_lines, packed, crlf, bom, tmp_path_factory):
    between = "\n" * (blank_lines + 1)
    lines_of = {"line": " ".join, "blank": "\n".join, "file": between.join}[form]
    contents = list(map(lines_of, documents))
    if form != "file":
        contents = [between.join(contents) + between]
    folder, paths = tmp_path_factory.mktemp("corpus"), []
    for number, content in enumerate(contents):
        data = b"\xef\xbb\xbf" * bom + content.replace("\n", "\r\n" if crlf else "\n").encode()
        paths.append(folder / f"{number}.txt{'.gz' if packed else ''}")
        paths[-1].write_bytes(gzip.compress(data) if packed else data)
    found = [part.text.split() for part in read_documents(map(str, paths), form)]
    assert found == [" ".join(document).split() for document in documents]


@pytest.mark.parametrize("form", ["line", "blank", "file"])
@settings(deadline=None)
@given(content=st.lists(lines, max_size=6), limit=st.integers(4, 40))
@example(content=["¡\xa0", "0"], limit=4)
@example(content=["    x"], limit=4)
def test_long_documents_come_in_parts_and_lose_nothing(form, content, limit, parts_of):
    whole = parts_of("\n".join(content), form)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "LONGEST_PART", limit)
        parts = parts_of("\n".join(content), form)
    for document in {part.document for part in whole}:
        joint = [
            "".join(p.text for p in found if p.document == document) for found in (whole, parts)
        ]
        assert "".join(joint[0].split()) == "".join(joint[1].split())
    assert all(len(part.text) <= 3 * limit for part in parts)


def test_words_stay_whole_in_long_lines(monkeypatch, parts_of):
    monkeypatch.setattr(corpus, "LONGEST_PART", 20)
    text = "The movie was good and long. " * 50
    found = parts_of(text)
    assert len(found) > 10 and {part.document for part in found} == {0}
    assert " ".join(part.text for part in found).split() == text.split()


def test_a_line_without_a_space_is_cut_between_characters(monkeypatch, parts_of):
    monkeypatch.setattr(corpus, "LONGEST_PART", 10)
    text = "日本語で書かれた長い文章" + "😀" * 9 + "é" * 11
    found = [part.text for part in parts_of(text, "file")]
    assert len(found) == 3 and "".join(found) == text


def test_one_giant_line(parts_of):
    parts = parts_of("word " * 2_000_000)
    assert {part.document for part in parts} == {0}
    assert max(len(part.text) for part in parts) <= 2 * corpus.LONGEST_PART
    assert sum(part.text.count("word") for part in parts) == 2_000_000


@pytest.mark.parametrize("form", ["line", "blank", "file"])
@pytest.mark.parametrize("content", [b"", b"\n" * 1_000_000, b"\xef\xbb\xbf", b" \t\r\n"])
def test_nothing_in_it(form, content, parts_of):
    assert parts_of(content, form) == []


def test_documents_end_with_their_file(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_text(f"{path.name}\nx")
    found = read_documents(map(str, paths), "blank")
    assert [(part.document, *part.text.split()) for part in found] == [(0, "a", "x"), (1, "b", "x")]


def test_review_and_book_markup(parts_of):
    (part,) = parts_of("One.<br /><br />Two.<BR>Three\x0cfour\x96five \x85six\r\n")
    assert part.text.strip() == "One.\n\n\n\nTwo.\n\nThree four five  six"


WIKI = """<doc id="12" revid="7" url="https://en.wikipedia.org/wiki?curid=12" title="Anarchism">
Anarchism

Anarchism is a political theory.
It is sceptical of <br> authority.

</doc>
<doc id="13" url="https://en.wikipedia.org/wiki?curid=13" title="A > B">
A > B

</doc>
"""
OF_WIKIPEDIA = '{"id": "1", "url": "u", "title": "t", "text": "One.\\nTwo."}'
JSON_LINES = OF_WIKIPEDIA + '\n\n{"text": "", "n": 1}\n{"n": 2, "text": "3.\\n4."}\n'


@pytest.mark.parametrize("form", ["line", "blank", "file"])
@pytest.mark.parametrize("cut", [False, True])
def test_wikipedia_as_wikiextractor_writes_it(form, cut, parts_of, monkeypatch, caplog):
    caplog.set_level("INFO", "tfbert")
    if cut:
        monkeypatch.setattr(corpus, "LONGEST_PART", 100)
    found = {}
    for part in parts_of("\n" + WIKI, form, "wiki_00"):
        found[part.document] = found.get(part.document, "") + part.text
    paragraphs = [[line for line in text.split("\n\n") if line.strip()] for text in found.values()]
    assert [[line.strip() for line in lines] for lines in paragraphs] == [
        ["Anarchism", "Anarchism is a political theory.", "It is sceptical of", "authority."],
        ["A > B"],
    ]
    assert caplog.text.count("each <doc> is a document, and these lines are left out") == 1


@pytest.mark.parametrize("form", ["line", "blank", "file"])
def test_json_lines(form, parts_of):
    assert parts_of(JSON_LINES, form) == [(0, "One.\n\nTwo."), (1, "3.\n4.")]
    with pytest.raises(InputError, match='line 5: no JSON object with a "text"'):
        parts_of(JSON_LINES + '{"body": "5"}', form)


def test_long_json_lines_come_in_parts(parts_of, monkeypatch):
    monkeypatch.setattr(corpus, "LONGEST_PART", 50)
    text = "word " * 40
    found = parts_of(f'{{"text": "{text}"}}\n{{"text": "end"}}\n')
    assert {part.document for part in found} == {0, 1} and len(found) == 5
    assert "".join(part.text for part in found) == text + "end"


@pytest.mark.parametrize(
    "text", ["<doc>\nx", "<document id='1'>\nx", '{"a": 1}\nx', "{not JSON}\nx", '{"text": 1}\nx']
)
def test_text_that_only_looks_marked(text, parts_of):
    assert [part.text.strip() for part in parts_of(text)] == text.split("\n")


def test_files_without_an_end_are_found_in_a_folder_if_they_are_wikiextractors(tmp_path):
    for name in ("AA/wiki_00", "AA/wiki_101", "AA/wiki_x", "AA/notes", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = [source.removeprefix(f"{tmp_path}/") for source in find_sources([tmp_path])]
    assert found == ["AA/wiki_00", "AA/wiki_101", "b.txt"]


def test_standard_input(monkeypatch):
    data = io.TextIOWrapper(io.BytesIO("One\nTwo é\n".encode()))
    monkeypatch.setattr(sys, "stdin", data)
    assert [part.text.split() for part in read_documents(["-"], "line")] == [["One"], ["Two", "é"]]


def test_folders_globs_and_files(place):
    (place / "deep").mkdir(parents=True, exist_ok=True)
    contents = {
        "b.txt": b"first",
        "a.txt": b"x",
        "deep/c.txt.gz": gzip.compress(b"second" * 9),
        "notes.md": b"notes",
        "[x].txt": b"",
    }
    for name, content in contents.items():
        (place / name).write_bytes(content)

    def names(*inputs):
        found = find_sources([str(place / name) for name in inputs])
        return [source.removeprefix(f"{place}/") for source in found]

    for everything in (".", "**/*.txt*"):
        assert names(everything) == ["[x].txt", "a.txt", "b.txt", "deep/c.txt.gz"]
    assert names("*.md", "[ab].txt") == ["notes.md", "a.txt", "b.txt"]
    assert names("**/*.gz") == ["deep/c.txt.gz"]
    assert names("[x].txt") == ["[x].txt"]
    assert find_sources(["-", "tfds:imdb_reviews"]) == ["-", "tfds:imdb_reviews"]
    with pytest.raises(InputError, match="no such file"):
        names("none")
    texts = [str(place / name) for name in ("b.txt", "deep/c.txt.gz")]
    assert [part.text for part in read_documents(texts, "file")] == ["first", "second" * 9]
    assert text_size(texts) == 5 + 54
    assert text_size([texts[0], "-"]) is None


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["missing.txt"], "missing.txt: no such file"),
        (["*.nothing"], r"\*.nothing: no such file"),
        (["empty"], "empty: no .txt or .txt.gz files in this folder"),
        (["-", "-"], "standard input can be read once only"),
    ],
)
def test_nothing_behind_an_input(inputs, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        find_sources(inputs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("text", b"fine\nnot \xff fine\n", "text, line 2: byte 0xff is not valid utf-8"),
        ("text", b"a\0b", "text: holds NUL bytes, so it is not a text file"),
        ("text.gz", b"not packed", "text.gz: damaged gzip file"),
        ("text.gz", gzip.compress(b"word\n" * 9999, mtime=0)[:40], "text.gz: damaged gzip file"),
        ("text.gz", gzip.compress(b"b c" * 999, mtime=0)[:20] + b"\xff" * 30, "damaged gzip file"),
    ],
)
def test_what_is_no_text_is_named(name, content, message, parts_of):
    with pytest.raises(InputError, match=message):
        parts_of(content, name=name)


def test_other_encodings(parts_of):
    for content in ("é\n\nb\n".encode("utf-16"), "é\r\rb\r".encode()):
        assert [part.text.split() for part in parts_of(content)] == [["é"], ["b"]]
    (part,) = parts_of("café".encode("cp1252"), encoding="cp1252")
    assert part.text.split() == ["café"]
