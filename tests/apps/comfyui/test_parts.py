"""Parts of a person: presets and names, masks grown and blurred, and answers without parts."""

import pytest
import torch
from comfy_nodes import ask

import refhcm
from refhcm.apps.comfyui import parts, values
from refhcm.utils.errors import UserError

UNREAD = refhcm.Answer((6, 4), valid=False, symbols=(), text="")


def test_presets_and_names():
    assert set(parts.PRESETS["clothes and shoes"]) | set(parts.PRESETS["skin"]) | {"hair", "sunglasses"} == set(
        values.PARTS
    )
    assert all(set(names) <= set(values.PARTS) for names in parts.PRESETS.values())
    assert parts.parts_named("Hair,left  ARM\n face ") == ["hair", "left-arm", "face"]


def test_parts_that_were_not_asked_for(model):
    asked = ask(model, torch.zeros(1, 4, 6, 3), "a man", parts=False)["answer"]
    with pytest.raises(UserError, match="has no parts; switch on"):
        parts.PickRefHCMParts().pick(asked, "head")
    with pytest.raises(UserError, match="named: is empty; name some of hat"):
        parts.PickRefHCMParts().pick(values.People([], [], parts=True), parts.NAMED, " ")


def test_an_unreadable_answer_is_an_empty_mask():
    people = values.People([[UNREAD]], [(6, 4)], parts=True)
    assert not parts.PickRefHCMParts().pick(people, "whole person")[0].any()
    assert not values.box_mask(UNREAD).any()
    assert values.bounding_boxes([UNREAD]) == []
    assert values.confidence(UNREAD) == 0


def test_grow_and_blur():
    mask = torch.zeros(1, 9, 9)
    mask[0, 4, 4] = 1
    grown = parts.shaped(mask, 2, 0)
    assert grown[0, 2:7, 2:7].all()
    assert grown.sum() == 25
    assert torch.equal(parts.shaped(grown, -2, 0), mask)
    assert torch.equal(parts.shaped(torch.ones(1, 4, 6), -1, 0), torch.ones(1, 4, 6))  # the picture's edge is no edge
    soft = parts.shaped(mask, 0, 1.0)
    assert soft.sum() == pytest.approx(1, abs=1e-3)
    assert soft[0, 4, 4] == soft.max() < 0.2
    assert soft[0, 4, 0] > 0  # as far as four sigmas
    assert torch.allclose(parts.shaped(torch.ones(1, 4, 6), 0, 64.0), torch.ones(1, 4, 6))  # wider than the picture
