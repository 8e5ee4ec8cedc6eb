"""`tfbert vocab`: a WordPiece vocabulary learned from text."""

import collections
import logging
from collections.abc import Iterable, Iterator, Sequence

from tfbert.errors import InputError, MachineError
from tfbert.io.paths import as_path, has_folder, same_file
from tfbert.io.progress import byte_bar
from tfbert.io.whole import write_bytes
from tfbert.text.corpus import find_sources, read_documents, text_size
from tfbert.text.tokenizer import LONGEST_WORD, make_hugging_face_tokenizer
from tfbert.text.vocab_options import VocabConfig
from tfbert.text.vocabulary import CONTINUATION, SPECIAL_TOKENS, Vocabulary

_MOST_WORDS = 3_000_000  # different ones in memory, some 300 MB; then the rarest are dropped
_MOST_TRAINING_WORDS = 20_000_000  # larger counts are scaled down: only their proportions matter
_REPEATS = 10_000

_log = logging.getLogger(__name__)


def learn_vocabulary(config: VocabConfig) -> Vocabulary:
    """Learns word pieces and writes them: the characters first, then the most frequent pieces.

    The trainer is that of Hugging Face's `tokenizers`. It numbers characters in an order that
    changes from process to process, and these numbers decide between equally frequent pairs. So
    it is given the characters in a fixed order, and the same text yields the same bytes.

    Raises:
        InputError: If there is no text, or `size` has no room for its characters.
        MachineError: If the file cannot be written.
    """
    sources = find_sources(config.input)
    output = as_path(config.output)
    if output.is_dir() or not has_folder(output):
        raise InputError(f"{output}: must be a file in a folder that exists")
    if any(same_file(output, source) for source in sources):
        raise InputError(f"--output {output}: is one of the input files; name another file")
    words = count_words(_read_with_progress(sources, config), config.lowercase)
    if not words:
        raise InputError(f"{', '.join(config.input)}: there is no text in it")
    vocabulary = Vocabulary(_train(words, config))
    if len(vocabulary) < config.size:
        _log.warning("the text yields %d word pieces, not %d", len(vocabulary), config.size)
    try:
        write_bytes(output, vocabulary.to_bytes())
    except OSError as error:
        raise MachineError(f"{output}: {error.strerror}") from error
    return vocabulary


def _read_with_progress(sources: Sequence[str], config: VocabConfig) -> Iterator[str]:
    """Yields the texts of the documents, with a progress bar on standard error."""
    with byte_bar(text_size(sources), "vocab", config.progress) as bar:
        for part in read_documents(sources, config.documents, config.encoding):
            yield part.text
            bar.update(len(part.text))


def count_words(texts: Iterable[str], lowercase: bool) -> dict[str, int]:
    """Counts the words of BERT's basic tokenization, in bounded memory.

    Words of over 100 characters are left out, and the rarest ones where there are millions.
    """
    chunks: collections.Counter[str] = collections.Counter()
    for text in texts:
        chunks.update(text.split())
        if len(chunks) > _MOST_WORDS:
            _drop_rarest(chunks)
    tokenizer = make_hugging_face_tokenizer({"[UNK]": 0}, lowercase)
    words: collections.Counter[str] = collections.Counter()
    for chunk, count in chunks.items():
        normal = tokenizer.normalizer.normalize_str(chunk)
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normal):
            if len(word) <= LONGEST_WORD:
                words[word] += count
    return dict(words)


def _drop_rarest(chunks: collections.Counter[str]) -> None:
    least = 1
    while len(chunks) > _MOST_WORDS // 2:
        least += 1
        for chunk in [chunk for chunk, count in chunks.items() if count < least]:
            del chunks[chunk]


def _train(words: dict[str, int], config: VocabConfig) -> list[str]:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    characters: collections.Counter[str] = collections.Counter()
    for word, count in words.items():
        for character in word:
            characters[character] += count
    common = sorted(characters, key=lambda character: (-characters[character], character))
    known = set(common[: config.alphabet])
    words = {word: count for word, count in words.items() if known.issuperset(word)}
    firsts = sorted({character for word in words for character in word})
    # Both forms of each letter, so that every word of known letters can be spelled.
    others = sorted({character for word in words if len(word) > 1 for character in word})
    fixed = [
        *SPECIAL_TOKENS,
        *(f"[unused{number}]" for number in range(config.unused)),
        *firsts,
        *(CONTINUATION + character for character in others),
    ]
    if len(fixed) > config.size:
        raise InputError(
            f"--size {config.size}: special tokens, unused slots and the text's characters alone "
            f"need {len(fixed)}; a smaller --alphabet leaves rare characters out"
        )
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=config.size,
        min_frequency=config.min_count,
        special_tokens=fixed,
        continuing_subword_prefix=CONTINUATION,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_repeat(words), trainer)
    ids = tokenizer.get_vocab(with_added_tokens=False)
    return sorted(ids, key=ids.__getitem__)


def _repeat(words: dict[str, int]) -> Iterator[str]:
    """Each word as often as it occurs, as the trainer counts words itself."""
    scale = max(1.0, sum(words.values()) / _MOST_TRAINING_WORDS)
    for word in sorted(words):
        left = max(1, round(words[word] / scale))
        while left > 0:
            yield " ".join([word] * min(left, _REPEATS))
            left -= _REPEATS
