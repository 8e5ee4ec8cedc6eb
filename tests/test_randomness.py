import numpy as np
from scipy import stats

from tfbert.randomness import make_key, permutation, random_bits, uniform


def test_same_numbers_for_ever():
    """Fixed masks and orders of older versions must stay what they were."""
    bits = random_bits(make_key("masks", 0, 1), np.arange(3))
    assert bits.tolist() == [6243916951176884261, 6137974634816159502, 5598057724640166978]


def test_any_order_any_shape():
    key = make_key(1)
    all_at_once = random_bits(key, np.arange(100).reshape(10, 10))
    one_by_one = [random_bits(key, np.array([i]))[0] for i in range(100)]
    assert all_at_once.reshape(-1).tolist() == one_by_one


def test_uniform_and_independent_of_neighbouring_keys_and_counters():
    keys = random_bits(make_key(0), np.arange(300))[:, None]
    numbers = uniform(random_bits(keys, np.arange(300)))
    assert numbers.min() >= 0 and numbers.max() < 1
    assert stats.kstest(numbers.reshape(-1), "uniform").pvalue > 0.001
    for first, second in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        assert abs(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]) < 0.015


def test_small_numbers_as_keys_do_not_shift_the_same_sequence():
    first, second = (uniform(random_bits(np.uint64(key), np.arange(1000))) for key in (1, 2))
    assert len(np.intersect1d(first, second)) == 0


def test_permutation_holds_everything_once():
    order = permutation(make_key("order"), 1000)
    assert sorted(order) == list(range(1000))
    assert permutation(make_key("order"), 0).tolist() == []
    assert (order != permutation(make_key("other"), 1000)).mean() > 0.9
