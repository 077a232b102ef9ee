import pytest
import torch
from torch import nn

from fdbpl.pipeline.config import OptimConfig
from fdbpl.pipeline.training.optim import learning_rate, make_optimizer, set_learning_rate


def test_the_rate_is_constant_in_the_warm_up_and_then_a_cosine() -> None:
    config = OptimConfig(learning_rate=0.002, warmup_epochs=1, warmup_learning_rate=1e-5)
    rates = [learning_rate(config, epoch, 4) for epoch in range(4)]
    # lr/2 (1 + cos(pi (e-1)/4)) at e = 1, 2, 3: full rate, then 0.85 and a half of it.
    assert rates == pytest.approx([1e-5, 0.002, 0.001 * (1 + 2**-0.5), 0.001])


def test_without_a_warm_up_the_first_epoch_has_the_full_rate() -> None:
    config = OptimConfig(learning_rate=0.1, warmup_epochs=0)
    assert [learning_rate(config, epoch, 2) for epoch in range(2)] == pytest.approx([0.1, 0.05])


def test_sgd_decays_prompts_as_published() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimizer = make_optimizer(OptimConfig(weight_decay=0.5, momentum=0.0), [weight])
    set_learning_rate(optimizer, 0.1)
    weight.grad = torch.zeros(1)
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 0.5)


def test_adam_is_a_choice() -> None:
    assert isinstance(make_optimizer(OptimConfig(optimizer="adam"), [nn.Parameter(torch.ones(1))]), torch.optim.Adam)
