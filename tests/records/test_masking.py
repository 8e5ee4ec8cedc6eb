import numpy as np
import pytest
from helpers.small_records import restore
from scipy import stats

from tfbert.records.masking import Masker, default_predictions, example_keys

LENGTH = 128


def make_sequences(vocabulary, count, generator, shortest=20):
    """[CLS] A [SEP] B [SEP] [PAD]...: ordinary pieces with some [UNK] between them."""
    special = vocabulary.is_special()
    token_ids = np.full((count, LENGTH), vocabulary.pad, vocabulary.dtype)
    ordinary = np.flatnonzero(~special)
    for row in token_ids:
        used = generator.integers(shortest, LENGTH + 1)
        row[:used] = generator.choice(ordinary, used)
        row[generator.integers(2, used - 2)] = vocabulary.unknown
        row[0] = vocabulary.cls
        row[generator.integers(2, used - 2)] = row[used - 1] = vocabulary.sep
    return token_ids


@pytest.fixture(scope="module")
def sequences(vocabulary):
    return make_sequences(vocabulary, 2000, np.random.default_rng(0))


def one_word(vocabulary, count, tokens=LENGTH):
    """[CLS], one word again and again, [SEP], then padding."""
    token_ids = np.full((count, LENGTH), vocabulary.pad, vocabulary.dtype)
    token_ids[:, :tokens] = vocabulary.ids["movie"]
    token_ids[:, [0, tokens - 1]] = vocabulary.cls, vocabulary.sep
    return token_ids


def mask(vocabulary, sequences, most=20, seed=0, **options):
    """A batch of sequences, masked in the first epoch."""
    keys = example_keys(seed, 0, np.arange(len(sequences)))
    return Masker(vocabulary, most, **options)(sequences, keys)


def wanted(token_ids, vocabulary, most):
    """The number of predictions as the paper's code has it."""
    tokens = (token_ids != vocabulary.pad).sum(axis=1)
    return [min(most, max(1, round(n * 0.15))) for n in tokens.tolist()]


def words_of(row, special, vocabulary):
    """Whole words of a sequence, as lists of places; `special` as `Vocabulary.is_special`."""
    words = []
    for place, token in enumerate(row):
        if special[token]:
            words.append(None)
        elif vocabulary.pieces[token].startswith("##") and words and words[-1] is not None:
            words[-1].append(place)
        else:
            words.append([place])
    return [word for word in words if word is not None]


@pytest.mark.parametrize("whole_word", [False, True])
@pytest.mark.parametrize("ngram", [1, 3])
def test_what_every_mask_fulfils(vocabulary, sequences, whole_word, ngram):
    masked = mask(vocabulary, sequences, whole_word=whole_word, ngram=ngram)
    assert (restore(masked) == sequences).all()
    rows, slots = np.nonzero(masked["mask_weights"])
    places = masked["mask_positions"][rows, slots]
    assert not vocabulary.is_special()[sequences[rows, places]].any()
    for row in range(len(sequences)):
        inside = masked["mask_positions"][row][masked["mask_weights"][row] == 1]
        assert (np.diff(inside.astype(int)) > 0).all()
        outside = masked["mask_weights"][row] == 0
        assert not masked["mask_ids"][row][outside].any()
        assert not masked["mask_positions"][row][outside].any()
    assert masked["mask_positions"].shape == (len(sequences), 20)


@pytest.mark.parametrize("most", [5, 20])
def test_number_of_single_tokens_is_exactly_berts(vocabulary, sequences, most):
    masked = mask(vocabulary, sequences, most, whole_word=False)
    assert masked["mask_weights"].sum(axis=1).tolist() == wanted(sequences, vocabulary, most)


@pytest.mark.parametrize("ngram", [1, 3])
def test_number_of_whole_words_is_berts_wherever_a_word_fits(vocabulary, sequences, ngram):
    masked = mask(vocabulary, sequences, ngram=ngram)
    targets, special = wanted(sequences, vocabulary, 20), vocabulary.is_special()
    for row, target in enumerate(targets):
        chosen = set(masked["mask_positions"][row][masked["mask_weights"][row] == 1].tolist())
        words = words_of(sequences[row], special, vocabulary)
        assert all(set(word) <= chosen or not set(word) & chosen for word in words)
        room = target - len(chosen)
        assert room >= 0
        assert not any(len(word) <= room for word in words if not set(word) & chosen)


def test_halves_are_rounded_as_in_python(vocabulary):
    """0.15 * 10 = 1.5 gives 2 and 0.15 * 30 = 4.5 gives 4: Python's rounding to even."""
    for tokens in (10, 30, 50, 70, 90):
        masked = mask(vocabulary, one_word(vocabulary, 1, tokens))
        assert masked["mask_weights"].sum() == round(0.15 * tokens)


def test_chi_square_of_a_million_masked_tokens(vocabulary):
    """80 % [MASK], 10 % a random word, 10 % unchanged; places and random words uniform."""
    sequences = one_word(vocabulary, 52_000)
    sequences[:, 60] = vocabulary.sep
    masked = mask(vocabulary, sequences, seed=7)
    rows, slots = np.nonzero(masked["mask_weights"])
    places = masked["mask_positions"][rows, slots].astype(int)
    now = masked["token_ids"][rows, places]
    total = len(now)
    assert total == 52_000 * 19
    words = int((~vocabulary.is_special()).sum())
    random_and_other = (now != vocabulary.mask) & (now != vocabulary.ids["movie"])
    observed = [
        (now == vocabulary.mask).sum(),
        random_and_other.sum(),
        (now == vocabulary.ids["movie"]).sum(),
    ]
    # A random word is the word itself once in `words`.
    expected = [0.8, 0.1 * (1 - 1 / words), 0.1 + 0.1 / words]
    assert stats.chisquare(observed, np.array(expected) * total).pvalue > 0.001
    drawn = np.bincount(now[random_and_other], minlength=len(vocabulary))
    assert not drawn[vocabulary.is_special()].any()
    others = ~vocabulary.is_special()
    others[vocabulary.ids["movie"]] = False
    assert stats.chisquare(drawn[others]).pvalue > 0.001
    counts = np.bincount(places, minlength=LENGTH)
    assert counts[[0, 60, LENGTH - 1]].tolist() == [0, 0, 0]
    # Places in a sequence exclude each other, so the counts vary a little less than by chance.
    statistic = stats.chisquare(counts[counts > 0]).statistic
    assert stats.chi2.sf(statistic / (1 - 19 / 125), 124) > 0.001


def test_a_span_of_n_words_has_probability_one_over_n(vocabulary):
    # Three predictions a sequence: one span of 3, or spans of 2 and 1, or of 1, 1 and 1.
    masked = mask(vocabulary, one_word(vocabulary, 20_000), most=3, ngram=3)
    assert (masked["mask_weights"] == 1).all()
    neighbours = (np.diff(masked["mask_positions"].astype(int), axis=1) == 1).sum(axis=1)
    one, two, three = np.array([1, 1 / 2, 1 / 3]) / (1 + 1 / 2 + 1 / 3)
    expected = [one * one / (one + two), two + one * two / (one + two), three]
    # Now and then spans stand next to each other by chance.
    assert np.allclose(np.bincount(neighbours) / 20_000, expected, atol=0.03)


def test_spans_do_not_cross_special_tokens(vocabulary):
    sequences = one_word(vocabulary, 200, tokens=61)
    sequences[:, 2:61:2] = vocabulary.sep
    masked = mask(vocabulary, sequences, ngram=5)
    assert (masked["mask_weights"].sum(axis=1) == 9).all()
    assert (restore(masked) == sequences).all()


def test_masks_are_a_function_of_seed_epoch_and_example(vocabulary, sequences):
    masker = Masker(vocabulary, 20)

    def draw(seed, epoch, examples):
        return masker(sequences[examples], example_keys(seed, epoch, examples))["mask_positions"]

    everything = draw(0, 0, np.arange(2000))
    for examples in (np.array([5]), np.array([1999, 3, 7]), np.arange(100, 200)):
        assert (draw(0, 0, examples) == everything[examples]).all()
    same = np.zeros(2000, int) + 5
    for other in (draw(1, 0, np.arange(2000)), draw(0, 1, np.arange(2000))):
        assert (other == everything).all(axis=1).mean() < 0.01
    keys = example_keys(0, 0, np.arange(2000))
    repeated = masker(sequences[same], keys)["mask_positions"]
    assert len(np.unique(repeated, axis=0)) > 1900


def test_nothing_to_mask(vocabulary):
    sequences = np.full((3, 16), vocabulary.pad, vocabulary.dtype)
    sequences[:, :3] = vocabulary.cls, vocabulary.unknown, vocabulary.sep
    masked = mask(vocabulary, sequences, 4)
    assert not masked["mask_weights"].any()
    assert (masked["token_ids"] == sequences).all()
    assert mask(vocabulary, sequences[:0], 4)["mask_positions"].shape == (0, 4)


@pytest.mark.parametrize(("length", "expected"), [(128, 20), (512, 77), (8, 2), (100, 15)])
def test_default_number_of_predictions(length, expected):
    assert default_predictions(length) == expected
