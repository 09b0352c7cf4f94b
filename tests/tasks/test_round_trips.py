"""`target` and `parse` undo each other, and `parse` takes anything (hypothesis, on one drawn picture)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from refhcm.data.annotation import Annotation
from refhcm.tasks import TASKS, Task
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.keypoints import KEYPOINT_NAMES

WIDTH, HEIGHT, CANVAS, BINS = 40, 30, 32, 65  # the bins of `tiny_text`
EOS = 2
HALF_BIN = CANVAS / (BINS - 1) / 2 + 1e-4  # canvas px
RATIOS = {"w_resize_ratios": CANVAS / WIDTH, "h_resize_ratios": CANVAS / HEIGHT}
PICTURE = Image.new("RGB", (WIDTH, HEIGHT), (10, 200, 30))


@pytest.fixture(scope="module")
def tasks(tiny_text):
    """All tasks on a canvas of 32 px with 65 bins: half a pixel each."""
    plain = TaskSettings(patch_image_size=CANVAS, max_image_size=CANVAS, num_bins=BINS, code_dict_size=100)
    return {name: task(tiny_text, plain) for name, task in TASKS.items()}


def annotation(box=(4.0, 3.0, 20.0, 15.0), **others):
    empty = {"label_map": np.zeros((HEIGHT, WIDTH), np.uint8), "codes": np.zeros(48, np.int64)}
    points = {"keypoints": np.zeros(34, np.float32), "expression": "the left player"}
    points |= {"boxes_xyxy": np.array([box], np.float32)}
    return Annotation("a", "here:1", PICTURE, np.array(box, np.float32), **(empty | points | others))


def read_back(task, given_annotation, *, training=True):
    """What is read from a sample's own target, in canvas px."""
    ids = task.sample(given_annotation, training=training)["target"]
    if task.name == "rpar_full_mask":  # what decoding gives: without the reserved places
        ids = torch.cat([ids[:4], ids[6:-1]])
    return task.parse(ids)


def close(ours, given):
    """Within half a bin, in image px: canvas px and image px, [2N] each."""
    error = np.abs(np.reshape(Task.in_image(ours, RATIOS), (-1, 2)) - np.reshape(given, (-1, 2)))
    return bool((error <= HALF_BIN / np.array([RATIOS["w_resize_ratios"], RATIOS["h_resize_ratios"]])).all())


boxes = st.tuples(st.floats(0, 19), st.floats(0, 14), st.floats(20, WIDTH), st.floats(15, HEIGHT))
points = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))


@pytest.mark.parametrize("name", ["refcoco", "rkpt", "rpar", "rpar_full_mask"])
@settings(max_examples=25, deadline=None)
@given(box=boxes)
def test_box(tasks, name, box):
    prediction = read_back(tasks[name], annotation(box))
    assert prediction.valid
    assert close(prediction.box_xyxy, box)


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(boxes, max_size=20))
def test_several_boxes(tasks, drawn):
    """From left to right, as the bins say; to within half a bin."""
    several = np.array(drawn, np.float32).reshape(-1, 4)
    prediction = read_back(tasks["grec"], annotation(boxes_xyxy=several))
    assert prediction.valid
    found = prediction.boxes_xyxy.tolist()
    assert found == sorted(found)
    placed = tasks["grec"].canvas.resized(PICTURE)
    read_alone = [tasks["grec"].parse(tasks["grec"].bins(box, placed)).boxes_xyxy[0].tolist() for box in several]
    assert found == sorted(read_alone)
    assert all(close(np.array(one), box) for one, box in zip(read_alone, several, strict=True))


@settings(max_examples=25, deadline=None)
@given(drawn=st.lists(st.one_of(st.just((0.0, 0.0)), points), min_size=17, max_size=17))
def test_keypoints(tasks, drawn):
    keypoints = np.array(drawn, np.float32).ravel()
    sample = tasks["rkpt"].sample(annotation(keypoints=keypoints), training=True)
    prediction = read_back(tasks["rkpt"], annotation(keypoints=keypoints))
    assert prediction.valid
    assert close(prediction.keypoints, keypoints)
    named = tasks["rkpt"].text.decode(sample["target"]).split()
    assert named == [name for name, (x, y) in zip(KEYPOINT_NAMES, keypoints.reshape(-1, 2), strict=True) if x or y]


@pytest.mark.parametrize("name", ["rpar", "rpar_full_mask"])
@settings(max_examples=25, deadline=None)
@given(codes=st.lists(st.integers(0, 31), min_size=48, max_size=48))
def test_codes(tasks, name, codes):
    prediction = read_back(tasks[name], annotation(codes=np.array(codes)))
    assert prediction.valid
    assert prediction.codes.tolist() == codes


@settings(max_examples=50, deadline=None)
@given(words=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("Z", "C")), min_size=1), min_size=1))
def test_caption(tasks, words):
    """In training: as written, with single spaces, cut to `--max-tgt-length` words; references are gone."""
    caption = " ".join(words)
    prediction = read_back(tasks["rhrc"], annotation(expression=caption + " [12, 3]"))
    assert prediction.caption == " ".join(caption.split()[:30])


def test_caption_in_evaluation(tasks):
    task, given_annotation = tasks["rhrc"], annotation(expression="A man, sitting. [3]&&the  left player!")
    assert task.sample(given_annotation, training=False)["text"] == "A man sitting&&the left player"
    assert read_back(task, given_annotation, training=False).caption == "A man sitting&&the left player"


@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 600), max_size=120))
def test_anything_can_be_read_recorded_and_scored(tasks, name, ids):
    task = tasks[name]
    prediction = task.parse(torch.tensor(ids, dtype=torch.long))
    labels = RATIOS | {
        "id": "a",
        "region_coords": np.array([4, 3, 20, 15], np.float32),
        "keypoints": np.ones(34, np.float32),
        "parsing_codes": np.zeros(48, np.int64),
        "gt": np.zeros((CANVAS, CANVAS), np.int32),
        "text": "a man",
        "boxes": np.array([[4, 3, 20, 15], [np.nan] * 4], np.float32),
    }
    prediction = replace(prediction, label_map=np.ones((4, 3), np.int64))
    json.dumps(task.record(prediction, labels))
    assert task.summarize([task.statistics(prediction, labels)])["invalid"] == (not prediction.valid)
    bins = task.vocabulary.bin_ids
    end = ids.index(EOS) if EOS in ids else len(ids)
    box = [i for i in ids[:end] if i in bins] if name == "rkpt" else ids
    if name == "grec" and end == 0:
        assert prediction.valid  # nobody
    elif name != "rhrc" and not (len(box) >= 4 and all(i in bins for i in box[:4])):
        assert not prediction.valid


def test_prompts(tasks):
    box = annotation((10.0, 6.0, 37.5, 30.0))  # canvas 8, 6.4, 30, 32: bins 16, 12.8, 60, 64
    bins = "<bin_16> <bin_13> <bin_60> <bin_64>"
    describe = ' which region does the text " the left player " describe?'
    expected = {
        "refcoco": describe,
        "rkpt": describe + " Provide the bounding box and keypoints.",
        "rpar": describe + " Provide the bounding box and the parsing map.",
        "rpar_full_mask": describe + " Provide the bounding box and the parsing map.",
        "grec": ' which regions does the text " the left player " describe?',
    }
    for name, prompt in expected.items():
        source = tasks[name].sample(box, training=True)["source"].tolist()
        assert (source[0], source[-1]) == (0, 2)
        assert tasks[name].text.decode(source) == prompt
        assert source[1:-1] == tasks[name].text.encode(prompt).tolist()
    source = tasks["rhrc"].sample(box, training=True)["source"]
    assert tasks["rhrc"].text.transcribe(source) == f"what does the region {bins} describe?"
    nothing = annotation((10.0, 6.0, 37.5, 30.0), expression="None")
    by_box = tasks["rpar"].sample(nothing, training=True)["source"]
    question = f'which region does the text " {bins} " describe? Provide the bounding box and the parsing map.'
    assert tasks["rpar"].text.transcribe(by_box) == question


def test_the_expression_is_cut_and_lowered(tiny_text):
    task = TASKS["refcoco"](tiny_text, TaskSettings(patch_image_size=CANVAS, num_bins=BINS, max_src_length=3))
    source = task.sample(annotation(expression="The LEFT-most Player here"), training=True)["source"]
    assert task.text.decode(source) == ' which region does the text " the left most " describe?'
