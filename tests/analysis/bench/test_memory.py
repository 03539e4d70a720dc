"""Bytes kept for a backward pass, moved by a call, and taken at its peak."""

import weakref

import torch
from torch import Tensor, nn

from morphmlp.analysis.bench.memory import peak_bytes, saved_bytes, traffic_bytes

CPU = torch.device("cpu")


def test_linear_layer_keeps_its_input():
    layer, x = nn.Linear(8, 4), torch.zeros(2, 8)
    assert saved_bytes(lambda: layer(x), layer) == 2 * 8 * 4
    assert saved_bytes(lambda: layer(x.requires_grad_()), layer) == 2 * 8 * 4  # and its weight, which is a parameter


def test_storage_that_is_kept_twice_counts_once():
    layers, x = nn.ModuleList([nn.Linear(8, 4), nn.Linear(4, 4)]), torch.zeros(2, 8)
    assert saved_bytes(lambda: layers[0](x) + layers[0](x[:1]), layers) == 2 * 8 * 4
    assert saved_bytes(lambda: layers[1](layers[0](x)), layers) == 2 * 8 * 4 + 2 * 4 * 4


def test_autocast_keeps_half_the_bytes_and_its_copies_of_the_weights_do_not_count():
    layer, x = nn.Linear(8, 4), torch.zeros(2, 8, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert saved_bytes(lambda: layer(x), layer) == 2 * 8 * 2


def test_nothing_is_held_when_the_bytes_are_counted():
    layer, x = nn.Linear(8, 4), torch.zeros(2, 8)
    kept = []

    def forward() -> Tensor:
        out = layer(x).softmax(dim=-1)  # its own backward pass needs it
        node = out.grad_fn
        node.metadata["companion"] = companion = nn.Module()  # lives as long as the node
        kept.append(weakref.ref(companion))
        return out

    assert saved_bytes(forward, layer) == 2 * 8 * 4 + 2 * 4 * 4
    assert kept[0]() is None


def test_what_an_operator_reads_and_writes_is_traffic():
    x, weight, bias = torch.zeros(6, 4), torch.zeros(5, 4), torch.zeros(5)
    product = x.numel() + weight.numel() + bias.numel() + 6 * 5
    assert traffic_bytes(lambda: nn.functional.linear(x, weight, bias)) == 4 * product
    assert traffic_bytes(lambda: torch.cat([x, x])) == 4 * (2 * 24 + 48)
    assert traffic_bytes(lambda: x.clone()) == 4 * 2 * 24
    assert traffic_bytes(lambda: torch.empty(9).copy_(x.flatten()[:9])) == 4 * 2 * 9


def test_what_is_written_in_place_is_traffic_and_what_gives_its_shape_is_not():
    x, y = torch.zeros(6, 4), torch.zeros(6, 4)
    for call, passes in (
        (lambda: x.add_(y), 3),
        (lambda: torch.add(x, y, out=torch.empty(6, 4)), 3),
        (lambda: x.zero_(), 1),
        (lambda: torch.zeros_like(x), 1),
        (lambda: x.new_empty(6, 4), 0),
    ):
        assert traffic_bytes(call) == 4 * 24 * passes
    weight = torch.nn.Parameter(x)
    weight.grad = y
    optimizer = torch.optim.AdamW([weight], fused=True)
    optimizer.step()
    # Weight, gradient (as the operator has it) and two averages are read and written; and a few scalars.
    assert 4 * 24 * 8 <= traffic_bytes(optimizer.step) < 4 * 24 * 8 + 64


def test_views_are_no_traffic_and_a_slice_only_what_it_shows():
    x = torch.zeros(6, 4)
    assert traffic_bytes(lambda: x.t().unflatten(0, (2, 2)).movedim(0, 1)[..., :2].detach()) == 0
    assert traffic_bytes(lambda: x[:2].clone()) == 4 * 2 * 8


def test_backward_pass_is_traffic_too():
    x = torch.zeros(6, 4, requires_grad=True)
    forward = traffic_bytes(lambda: (x * x).sum())
    assert traffic_bytes(lambda: (x * x).sum().backward()) > forward


def test_peak_is_what_a_call_holds_at_once():
    x = torch.zeros(1000)

    def call() -> Tensor:
        y = x + 1
        y = y.view(10, 100).exp()[:5]  # the sum is freed, the whole of the exponentials is not
        return torch.cat([y, y])

    assert peak_bytes(call, CPU) == 4 * 2000
    assert peak_bytes(lambda: x.view(10, 100).t(), CPU) == 0
    assert peak_bytes(lambda: x.add_(1), CPU) == 0


def test_tensor_in_the_place_of_one_that_the_call_freed_counts():
    there_before = [torch.zeros(1000) for _ in range(100)]

    def call() -> list[Tensor]:
        while there_before:
            there_before.pop().add_(1)
        return [torch.zeros(1000) for _ in range(100)]

    assert peak_bytes(call, CPU) == 4 * 100 * 1000


def test_peak_counts_what_a_graph_keeps():
    x = torch.zeros(1000, requires_grad=True)

    def sums() -> list[Tensor]:
        return [(x * 2).exp().sin().sum() for _ in range(2)]

    # The first graph keeps the exponentials; the second sum lives beside the sines, which are freed after it.
    assert peak_bytes(sums, CPU) == 4 * (1000 + 1 + 2 * 1000 + 1)
    with torch.no_grad():
        assert peak_bytes(sums, CPU) == 4 * (1 + 1000 + 1000)
