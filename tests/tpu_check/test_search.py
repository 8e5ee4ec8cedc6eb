"""The search for the largest batch, with a made-up compiler whose memory is known."""

import pytest

from tfbert.tpu_check.compiler import Program
from tfbert.tpu_check.fitting import Search, divisors, fit_line, least_accumulate_steps, round_size


def test_a_line_through_two_points():
    line = fit_line((8, 26.0), (4, 18.0))
    assert (line.fixed, line.each, line.at(16)) == (10.0, 2.0, 42.0)
    assert [line.room(memory) for memory in (9, 10, 11.9, 12, 42)] == [0, 0, 0, 1, 16]


def test_memory_that_does_not_grow_promises_nothing():
    assert fit_line((8, 10.0), (4, 10.0)).room(100) == 0


def test_arithmetic():
    assert divisors(12) == [1, 2, 3, 4, 6, 12]
    assert [round_size(size) for size in (0, 1, 7, 8, 9, 31, 32)] == [0, 1, 7, 8, 8, 24, 32]
    # 48 sequences, at most 20 at once: 3 times 16, not 2.4 times 20.
    assert least_accumulate_steps(48, 20) == 3
    assert least_accumulate_steps(32, 32) == least_accumulate_steps(32, 500) == 1
    assert least_accumulate_steps(7, 6) == 7


class MadeUpCompiler:
    """Needs `fixed` bytes, `accumulators` where the batch is divided, and `each` a sequence."""

    def __init__(self, memory, fixed=100, accumulators=50, each=10, bend=lambda size: 0):
        self.memory = memory
        self.need = lambda size, steps: (
            fixed + accumulators * (steps > 1) + each * size + bend(size)
        )
        self.asked = []

    def __call__(self, size, steps):
        self.asked.append((size, steps))
        used = self.need(size, steps)
        return Program(size * steps, steps, fits=used <= self.memory, used=used)

    def search(self, share, steps=1):
        found = Search(share, self.memory, self, self(share // steps, steps))
        found.look()
        return found


def test_a_share_that_fits_leaves_room_for_more():
    compiler = MadeUpCompiler(memory=745)
    found = compiler.search(share=32)
    # 64.5 sequences fit: the third compilation verifies 64.
    assert compiler.asked == [(32, 1), (16, 1), (64, 1)]
    assert (found.largest, found.line) == (64, (100, 10))


def test_a_share_that_does_not_fit_is_accumulated():
    compiler = MadeUpCompiler(memory=400)
    found = compiler.search(share=48)
    # 25 at once with the accumulators, of which the largest divisor of 48 is 24.
    assert compiler.asked == [(48, 1), (24, 2), (16, 3)]
    assert (found.largest, found.line) == (24, (150, 10))


def test_a_small_part_leads_to_a_larger_one():
    compiler = MadeUpCompiler(memory=400)
    found = compiler.search(share=48, steps=24)
    assert compiler.asked == [(2, 24), (1, 48), (24, 2)]
    assert found.largest == 24


def test_where_the_line_promises_the_whole_share_it_is_tried_whole():
    compiler = MadeUpCompiler(memory=650)
    found = compiler.search(share=48, steps=6)
    assert compiler.asked == [(8, 6), (6, 8), (48, 1)]
    assert found.largest == 48


def test_a_promise_that_fails_is_followed_by_smaller_ones():
    compiler = MadeUpCompiler(memory=745, bend=lambda size: 60 * (size > 50))
    found = compiler.search(share=32)
    assert compiler.asked == [(32, 1), (16, 1), (64, 1), (56, 1)]
    assert found.largest == 56


def test_a_promise_that_always_fails_leaves_what_was_seen_to_fit():
    compiler = MadeUpCompiler(memory=745, bend=lambda size: 1_000 * (size > 32))
    found = compiler.search(share=32)
    assert (len(compiler.asked), found.largest) == (5, 32)


@pytest.mark.parametrize(("memory", "largest", "compilations"), [(165, 1, 4), (90, 0, 4)])
def test_hardly_anything_fits(memory, largest, compilations):
    compiler = MadeUpCompiler(memory)
    found = compiler.search(share=8)
    assert (found.largest, len(compiler.asked)) == (largest, compilations + (largest == 1))


def test_one_sequence_a_core():
    compiler = MadeUpCompiler(memory=135)
    found = compiler.search(share=1)
    assert compiler.asked == [(1, 1), (2, 1), (3, 1)]
    assert found.largest == 3


def test_an_operation_that_cannot_be_compiled_ends_the_search():
    asked = []

    def compiled(size, steps):
        asked.append(size)
        return Program(size * steps, steps, fits=None, problem="no XlaOp")

    found = Search(8, 100, compiled, Program(8, 1, fits=False, used=200))
    found.look()
    assert (asked, found.largest) == ([4], None)
