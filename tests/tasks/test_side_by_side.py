"""Work side by side: in order, without gradients, one thread of torch in each, and nothing changed afterwards."""

import threading

import pytest
import torch

from habitus.tasks.side_by_side import side_by_side


@pytest.fixture(params=[1, 3])
def n_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_stand_in_the_order_of_the_parts(n_threads):
    slow_first = threading.Event()

    def work(part):
        if part == 0 and n_threads > 1:
            assert slow_first.wait(10)  # another part is done while this one waits
        slow_first.set()
        return part, torch.is_grad_enabled(), torch.get_num_threads()

    assert side_by_side(work, iter(range(5))) == [(part, False, 1) for part in range(5)]
    assert torch.get_num_threads() == n_threads and torch.is_grad_enabled()
    assert side_by_side(work, []) == []


def test_an_error_comes_through_and_the_threads_are_as_before(n_threads):
    def work(part):
        raise ArithmeticError(part)

    with pytest.raises(ArithmeticError):
        side_by_side(work, [1, 2])
    assert torch.get_num_threads() == n_threads
