"""What is made again in the backward pass is what was there in the forward pass."""

import weakref
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphmlp.models.recompute import remade, remaking

LAYERS = [nn.LayerNorm(6), nn.Linear(6, 6), nn.Linear(6, 4)]


def chain(x: Tensor) -> Tensor:
    """A GELU of a view of a LayerNorm, both made again."""
    norm, first, second = LAYERS
    normalised = remade(norm, x)
    flat = remade(lambda tokens: tokens.transpose(0, 1).flatten(1), normalised.unflatten(1, (1, 6)))
    return second(remade(F.gelu, first(flat.view(-1, 6))))


def gradients(function: Callable[[Tensor], Tensor], *, enabled: bool, dtype: torch.dtype) -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x = torch.randn(5, 6, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32), remaking(enabled):
        out = function(x)
    return torch.autograd.grad(out.float().square().sum(), [x, *nn.ModuleList(LAYERS).parameters()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_are_equal_to_the_last_bit(dtype: torch.dtype):
    plain, again = (gradients(chain, enabled=enabled, dtype=dtype) for enabled in (False, True))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(again, plain, strict=True))


def test_second_derivatives_are_equal():
    results = []
    for enabled in (False, True):
        x = torch.linspace(-1, 1, 30, dtype=torch.float64).view(5, 6).requires_grad_()
        weight = torch.linspace(1, 2, 6, dtype=torch.float64).requires_grad_()
        with remaking(enabled):
            out = (remade(F.gelu, x * weight) * weight).sum()
        (first,) = torch.autograd.grad(out, weight, create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), [x, weight]))
    for plain, again in zip(*results, strict=True):
        torch.testing.assert_close(again, plain, rtol=0, atol=0)


def test_the_output_is_freed_and_made_again_once_for_each_product():
    made = []

    def gelu(x: Tensor) -> Tensor:
        made.append(x.shape)
        return F.gelu(x)

    fc = nn.Linear(6, 4)
    with remaking(True):
        hidden = remade(gelu, torch.randn(5, 6, requires_grad=True))
        freed = weakref.ref(hidden.untyped_storage())
        out = fc(hidden)
        del hidden
    assert freed() is None
    assert len(made) == 1
    out.sum().backward()
    assert len(made) == 2


def test_what_is_kept_is_freed_as_the_backward_pass_goes_on():
    with remaking(True):
        x = torch.randn(5, 6, requires_grad=True) * 1
        kept = weakref.ref(x)
        out = nn.Linear(6, 4)(remade(F.gelu, x))
        del x
    out.sum().backward()
    assert kept() is None


def test_another_tensor_at_the_address_of_a_freed_one_is_kept_as_it_is():
    norm = nn.LayerNorm(6)
    with remaking(True):
        remade(norm, torch.randn(5, 6))  # freed at once
        others = [torch.full((5, 6), float(i), requires_grad=True) for i in range(20)]
        products = [other.detach() * other for other in others]
    for other, product in zip(others, products, strict=True):
        (gradient,) = torch.autograd.grad(product.sum(), other)
        assert torch.equal(gradient, other.detach())


def test_the_hooks_around_see_what_is_kept():
    seen = []

    def keep(tensor: Tensor) -> Tensor:
        seen.append(tensor.shape)
        return tensor

    x = torch.randn(5, 6, requires_grad=True)
    fc = nn.Linear(6, 4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), remaking(True):
        out = fc(remade(F.gelu, x * 2))
    assert torch.Size([5, 6]) in seen  # the GELU's input
    out.sum().backward()


def test_without_a_backward_pass_nothing_is_noted():
    with torch.no_grad(), remaking(True):
        assert not remade(F.gelu, torch.randn(3)).requires_grad
