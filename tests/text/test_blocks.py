import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfbert.text.blocks import SeenDigests, make_blocks
from tfbert.text.corpus import Part

# Documents as lists of parts.
documents = st.lists(
    st.lists(st.text("abc ", min_size=1).filter(str.strip), min_size=1, max_size=3), max_size=40
)


@pytest.fixture(scope="module")
def sort(tmp_path_factory):
    """Sorts documents, given as lists of parts, into blocks: (blocks, counts)."""

    def sort(documents, size=100, validation=0.0, keep=False):
        parts = [Part(i, text) for i, texts in enumerate(documents) for text in texts]
        seen = SeenDigests(tmp_path_factory.mktemp("seen") / "seen.sqlite")
        counts = {}
        blocks = list(make_blocks(parts, seen, size / 1e6, validation, keep, counts))
        seen.close()
        return blocks, counts

    return sort


@settings(deadline=None)
@given(documents=documents, size=st.integers(1, 60), share=st.sampled_from([0.0, 0.3]))
def test_every_part_is_in_one_block(sort, documents, size, share):
    blocks, counts = sort(documents, size, share, keep=True)
    parts = [part for block in blocks for part in block.parts]
    expected = [(i, text.strip()) for i, texts in enumerate(documents) for text in texts]
    assert sorted(parts) == sorted(expected)
    for split in ("train", "validation"):
        ours = [block for block in blocks if block.split == split]
        assert [block.number for block in ours] == list(range(len(ours)))
        numbers = {part.document for block in ours for part in block.parts}
        assert counts[split] == len(numbers)
        in_order = [part.document for block in ours for part in block.parts]
        assert in_order == sorted(in_order)
    assert counts["documents"] == len(documents) and counts["duplicates"] == 0
    assert sum(block.read_bytes for block in blocks) == counts["bytes"]
    assert counts["bytes"] == sum(len(text) for _, text in expected)


@settings(deadline=None)
@given(documents=documents)
def test_a_text_comes_once(sort, documents):
    blocks, counts = sort(documents, 30)
    texts = [part.text for block in blocks for part in block.parts]
    stripped = [text.strip() for parts in documents for text in parts]
    assert sorted(texts) == sorted(set(stripped))
    assert counts["duplicates"] == len(stripped) - len(set(stripped))


def test_blocks_have_the_size_asked_for_and_no_tiny_rest(sort):
    blocks, _ = sort([[f"{i:010d}"] for i in range(104)], size=100)
    assert [len(block.parts) for block in blocks] == [10] * 9 + [14]


def test_no_document_is_alone_if_there_is_another(sort):
    blocks, _ = sort([["a" * 300], ["b" * 300], ["c" * 300], ["d" * 300], ["e" * 300]])
    assert [[part.document for part in block.parts] for block in blocks] == [[0, 1], [2, 3, 4]]


def test_one_long_document_is_cut_after_all(sort):
    """Memory is bounded: a block of one document ends at eight times the size."""
    blocks, _ = sort([[f"{i:0100d}" for i in range(50)]], size=100)
    assert [len(block.parts) for block in blocks] == [8] * 5 + [10]


def test_parts_of_a_document_are_held_out_together(sort):
    documents = [[f"{i} {part}" for part in range(3)] for i in range(2000)]
    blocks, counts = sort(documents, 1000, validation=0.1)
    held_out = {p.document for b in blocks if b.split == "validation" for p in b.parts}
    train = {p.document for b in blocks if b.split == "train" for p in b.parts}
    assert not held_out & train
    assert 140 < len(held_out) < 260 and counts["validation"] == len(held_out)


def test_who_is_held_out_does_not_depend_on_the_others(sort):
    def held_out(documents):
        blocks, _ = sort(documents, validation=0.2)
        return {p.text for b in blocks if b.split == "validation" for p in b.parts}

    documents = [[f"text {i}"] for i in range(200)]
    assert held_out(documents[::-2]) == held_out(documents) & {text for (text,) in documents[::-2]}


def test_keys_tell_blocks_apart(sort):
    def keys(*documents):
        return [block.key for block in sort(documents, 1000, keep=True)[0]]

    assert keys(["a", "b"]) == keys(["a", "b"])
    # The same texts as parts of one document, or in another order, are something else.
    assert len({keys(["a", "b"])[0], keys(["a"], ["b"])[0], keys(["b", "a"])[0]}) == 3
    # What came before does not matter.
    blocks, _ = sort([["x" * 60], ["y" * 60], ["a" * 60], ["b" * 60]], 100)
    assert blocks[1].key == keys(["a" * 60], ["b" * 60])[0]


def test_digests_stay_on_disk(tmp_path):
    seen = SeenDigests(tmp_path / "seen.sqlite")
    digests = [i.to_bytes(16, "little") for i in range(20_000)]
    assert all(map(seen.add, digests)) and not any(map(seen.add, digests))
    seen.close()
    # A new run begins with nothing.
    assert SeenDigests(tmp_path / "seen.sqlite").add(digests[0])
