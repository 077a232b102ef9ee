import math

import pytest
import torch

from fdbpl.kernels.dual_prompt import fdbpl_terms, informative_weight


def test_terms_by_hand() -> None:
    teacher = torch.tensor([[math.log(0.9), math.log(0.1)], [0.0, 0.0]])
    positive = torch.tensor([[math.log(0.9), math.log(0.1)], [3.0, 4.0]])
    negative = torch.tensor([[1.0, 1.0], [4.0, -3.0]])
    weight, agreement, rejection, separation = fdbpl_terms(teacher, positive, negative)
    surprise = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1))
    assert weight.tolist() == pytest.approx([1 - surprise / math.log(2), 0.0], abs=1e-6)
    assert agreement[0].item() == pytest.approx(0.0, abs=1e-7)
    assert rejection[0].item() == pytest.approx(-math.log(2))
    assert separation[1].item() == pytest.approx(0.0, abs=1e-7)


def test_a_certain_teacher_weighs_one_and_an_ignorant_one_nothing() -> None:
    weights = informative_weight(torch.tensor([[100.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert weights.tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_the_teacher_gets_no_gradient_and_the_negative_prompt_none_from_agreement() -> None:
    teacher = torch.randn(4, 5, requires_grad=True)
    positive = torch.randn(4, 5, requires_grad=True)
    negative = torch.randn(4, 5, requires_grad=True)
    terms = fdbpl_terms(teacher, positive, negative)
    (terms.weight_B * terms.agreement_B).sum().backward()
    assert teacher.grad is None
    assert negative.grad is None
    assert positive.grad is not None and positive.grad.abs().sum() > 0


def test_one_class_and_unlike_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="two or more"):
        informative_weight(torch.zeros(2, 1))
    with pytest.raises(ValueError, match="positive logits"):
        fdbpl_terms(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4))
