"""Asking in Python: answers equal the published ones, batched equal single, and mistakes are one clear line.

The networks are the golden tiny ones (golden/checkpoints), whose answers mean little but are always the same.
"""

import threading

import numpy as np
import pytest
from golden_folder import numbers, table, vq_n_embed
from PIL import Image

from refhcm.inference.answers import FIELDS
from refhcm.inference.questions import MAX_CHARACTERS
from refhcm.models.generation_settings import GenerationSettings
from refhcm.tasks import TASKS
from refhcm.utils.errors import UserError


@pytest.fixture(scope="module")
def other():
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 40, 3), dtype=np.uint8))


def same(a, b):
    """The same symbols, numbers and parts; confidences up to rounding."""
    one, two = a.to_dict(), b.to_dict()
    del one["confidence"], two["confidence"]
    assert one == two
    for field in FIELDS:
        assert a.confidence.points(field) == pytest.approx(b.confidence.points(field), abs=0.01)


EXPRESSIONS = ["a man", "the woman in the long red coat who holds an umbrella", "x"]
# How each kind of question is asked of a picture or a list, and of a text or a list.
ASKING = {
    "refcoco": lambda model, image, text: model.refer(image, text),
    "rkpt": lambda model, image, text: model.refer(image, text, keypoints=True),
    "multitask": lambda model, image, text: model.refer(image, text, keypoints=True, parsing=True),
    "rpar_full_mask": lambda model, image, text: model.refer(image, text, parsing=True, parallel=True),
}
GENERATION = GenerationSettings(beam=3, min_len=4, max_len_b=40)
CHAINING = {
    "instruct": lambda model, image, text: model.instruct(image, text, generation=GENERATION),
    "chain": lambda model, image, text: model.chain(image, text, keypoints=True, parsing=True, generation=GENERATION),
}


@pytest.mark.parametrize("name", [*ASKING, *CHAINING])
def test_batched_answers_equal_single_ones(name, models, image, other):
    model = models(name if name in ASKING else "multitask")
    ask = (ASKING | CHAINING)[name]
    pictures = [image, other, image]
    alone = [ask(model, picture, text) for picture, text in zip(pictures, EXPRESSIONS, strict=True)]
    for batched, single in zip(ask(model, pictures, EXPRESSIONS), alone, strict=True):
        same(batched, single)


def test_questions_about_one_picture_equal_single_ones(models, image):
    model = models("refcoco")
    for batched, text in zip(model.refer(image, EXPRESSIONS), EXPRESSIONS, strict=True):
        same(batched, model.refer(image, text))


def test_batched_captions_equal_single_ones(models, image, other):
    model, boxes = models("rhrc"), [[1, 2, 60, 70], (0, 0, 40, 64), np.array([5.5, 6, 30, 31])]
    alone = [model.describe(picture, box) for picture, box in zip([image, other, image], boxes, strict=True)]
    assert all(answer.caption for answer in alone)
    for batched, single in zip(model.describe([image, other, image], boxes), alone, strict=True):
        same(batched, single)
    for batched, single in zip(model.describe(image, np.array([boxes[0]])), alone[:1], strict=True):
        same(batched, single)


def test_small_batches_give_the_same_answers_in_order(models, image, other, monkeypatch):
    model = models("refcoco")
    whole = model.refer([image, other] * 3, list("abcdef"))
    monkeypatch.setattr(model, "batch_size", 2)
    for one, two in zip(model.refer([image, other] * 3, list("abcdef")), whole, strict=True):
        same(one, two)


def test_a_picture_is_looked_at_once(models, image, other):
    """However many questions, tasks and attempts of an induction follow."""
    model, seen = models("multitask"), []
    hook = model.network.encoder.embed_images.register_forward_hook(lambda _, given, out: seen.append(len(given[0])))
    model.refer(image, EXPRESSIONS)
    model.refer([image, other, image, other], list("abcd"))
    model.refer(image, "a", keypoints=True, parsing=True)
    model.chain(image, "a", keypoints=True, parsing=True)
    hook.remove()
    assert seen == [1, 2, 1, 1]


@pytest.mark.parametrize("name", ["refcoco", "rpar_full_mask", "rhrc"])
def test_answers_are_those_of_evaluation(name, models, golden_data):
    """golden/eval: the published answers to the rows of a table."""
    model = models(name)
    settings = {"annotation_root": str(golden_data / "rpar_annos"), "selected_cols": table(name)["selected_cols"]}
    settings |= {"vq_n_embed": vq_n_embed(name)}
    task = TASKS[name](model.text, type(model.settings)(**vars(model.settings) | settings))
    published = numbers(f"eval/{name}_test_predict")
    file = task.open(golden_data / table(name)["tsv"], training=False).file
    for k in range(min(3, len(published))):
        row = task.annotation(file[k], file.where(k))
        if name == "rhrc":
            answer = model.describe(row.image, row.box_xyxy)
            assert published[k]["caption"] in answer.caption.replace("&&", "")
            continue
        answer = model.refer(row.image, row.expression, parsing=name != "refcoco", parallel=name != "refcoco")
        box = np.array(published[k].get("box") or published[k]["bbox"])
        inside = np.minimum(box, np.tile(row.image.size, 2))
        if answer.box_xyxy is not None:
            assert answer.box_xyxy == pytest.approx(inside, abs=1.01)  # one pixel at least
        else:
            assert (box[2:] < box[:2]).any()
        if name == "rpar_full_mask":
            assert answer.symbols[4:] == tuple(f"<code_{code}>" for code in published[k]["image_code"])


def test_the_number_of_beams(models, image, monkeypatch):
    model, seen = models("multitask"), []
    generate = model._engine.generate

    def noting(task, rows, settings, **more):
        seen.append((task.name, settings.beam))
        return generate(task, rows, settings, **more)

    monkeypatch.setattr(model._engine, "generate", noting)
    model.refer(image, "a", keypoints=True, beam=2)
    model.refer(image, "a")
    assert seen == [("rkpt", 2), ("refcoco", 5)]
    with pytest.raises(UserError, match="beam must be at least 1"):
        model.refer(image, "a", beam=0)


def test_parts_are_merged(models, image):
    answer = models("rpar_full_mask").refer(image, "a man", keypoints=True, parsing=True, parallel=True)
    assert answer.label_map.shape == (90, 120)
    assert 0 <= answer.confidence.box <= 1
    assert answer.confidence.parts.keys() == answer.parts.keys()
    assert all(0 <= own <= 1 for own in answer.confidence.parts.values())
    assert "</s>" in answer.symbols


def test_none_is_a_word_of_users(models, image):
    model = models("multitask")
    same(model.refer(image, "None", parsing=True), model.refer(image, "none", parsing=True))


def test_glued_symbols_are_understood(models, image):
    model = models("multitask")
    glued, spaced = (f"what does the region {bins} describe?" for bins in ("<bin_1><bin_2>", "<bin_1> <bin_2>"))
    same(*(model.instruct(image, text, generation=GENERATION) for text in (glued, spaced)))


def test_no_questions_no_answers(models, image):
    assert models("refcoco").refer(image, []) == []
    assert models("refcoco").refer([], []) == []
    assert models("rhrc").describe(image, np.zeros((0, 4))) == []


def test_threads_take_turns(models, image, other):
    model, found = models("refcoco"), {}

    def ask(k):
        found[k] = model.refer([image, other][k % 2], EXPRESSIONS[k % 3])

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(6):
        same(found[k], model.refer([image, other][k % 2], EXPRESSIONS[k % 3]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expression: is empty, needs some words"),
        (" \n", "expression: is empty"),
        ("...", "expression: needs some words, got '...'"),
        ("★ 👍", "expression: needs some words, got '★ 👍'"),
        (None, "expression: needs text, got NoneType"),
        (b"a man", "expression: needs text, got bytes"),
        ({"a": "man"}, "expression: needs text, got dict"),
        ("a" * (MAX_CHARACTERS + 1), f"expression: has {MAX_CHARACTERS + 1} characters, needs"),
        ("a man " + "\U0001f600" * 2000, "expression: is .* symbols long with its prompt, the model reads"),
        ("\ud800", "expression: is not valid Unicode"),
        ("a \udfff", "expression: is not valid Unicode"),
        (["a man", ""], r"expressions\[1\]: is empty"),
        (["a man", 3], r"expressions\[1\]: needs text, got int"),
    ],
)
def test_expressions(text, message, models, image):
    with pytest.raises(UserError, match=message) as caught:
        models("refcoco").refer(image, text)
    assert len(str(caught.value)) < 200


def test_long_expressions_keep_their_first_words(models, image):
    model = models("refcoco")
    first = " ".join(["man"] * model.settings.max_src_length)
    same(model.refer(image, first), model.refer(image, first + " and then much more"))


def test_an_empty_path(models):
    for given, called in (("", "image"), (["a.jpg", ""], r"images\[1\]")):
        with pytest.raises(UserError, match=rf"^{called}: is an empty path"):
            models("refcoco").refer(given, ["a man", "a man"])


@pytest.mark.parametrize("method", ["instruct", "chain"])
def test_texts_of_other_methods(method, models, image):
    with pytest.raises(UserError, match="is empty"):
        getattr(models("multitask"), method)(image, "")
    with pytest.raises(UserError, match="symbols long"):
        getattr(models("multitask"), method)(image, "a man " + "\U0001f600" * 2000)
    for text, symbol in (("in <bin_5000>", "<bin_5000>"), ("at <bin_1> <bin_99 please", "<bin_99")):
        with pytest.raises(UserError, match=f"this model has no symbol {symbol}"):
            getattr(models("multitask"), method)(image, text)


def test_a_way_to_answer_what_is_not_asked_for(models, image):
    with pytest.raises(UserError, match="parallel: needs parsing=True"):
        models("rpar_full_mask").refer(image, "a man", parallel=True)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([1, 2, 3], "box: needs 4 finite numbers"),
        ([1, 2, 3, float("nan")], "box: needs 4 finite numbers"),
        ([1, 2, 3, float("inf")], "box: needs 4 finite numbers"),
        ([1, 2, 3, 10**400], "box: needs 4 finite numbers"),
        ("1,2,3,4", "box: needs 4 finite numbers"),
        (None, "box: needs 4 finite numbers"),
        ([1, 2, "x", 4], "box: needs 4 finite numbers"),
        ([30, 2, 3, 40.5], "box: needs x0 < x1 and y0 < y1, got 30, 2, 3, 40.5"),
        ([3, 2, 3, 40], "box: needs x0 < x1 and y0 < y1"),
        ([100.00000001, 0, 100.00000002, 10], "box: needs x0 < x1 and y0 < y1, got 100, 0, 100, 10"),
        ([120, 2, 130, 40], "box: 120, 2, 130, 40 is wholly outside the picture of 120 x 90 px"),
        ([[1, 2, 3, 4], [1, 2, 3]], r"boxs\[1\]: needs 4 finite numbers"),
        (np.zeros((2, 2, 2)), r"boxs\[0\]: needs 4 finite numbers"),
    ],
)
def test_boxes(box, message, models, image):
    with pytest.raises(UserError, match=message.replace("boxs", "boxes")):
        models("rhrc").describe(image, box)


def test_a_box_is_clipped_to_the_picture(models, image):
    model = models("rhrc")
    same(model.describe(image, [-50, 20, 1000, 1000]), model.describe(image, [0, 20, 120, 90]))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("/no/such.png", "^image: /no/such.png: cannot be read"),
        (b"not a picture", "^image: cannot be read as a picture"),
        (None, "^image: needs a path"),
        (np.zeros((4, 4)), r"^image: needs an array uint8 \[H, W, 3\]"),
        ([np.zeros((4, 4))], "as many expressions, got 1 pictures and one expression"),
    ],
)
def test_pictures(picture, message, models):
    with pytest.raises(UserError, match=message):
        models("refcoco").refer(picture, "a man")


def test_one_bad_picture_of_many_is_named(models, image):
    with pytest.raises(UserError, match=r"^images\[1\]: cannot be read as a picture"):
        models("refcoco").refer([image, b""], ["a", "b"])
    with pytest.raises(UserError, match="got 2 pictures and 3 expressions"):
        models("refcoco").refer([image, image], ["a", "b", "c"])


def test_a_model_says_what_it_holds(models):
    said = repr(models("multitask"))
    assert "tasks refcoco, rkpt, rpar, rhrc)" in said
    assert "million parameters, float32 on cpu" in said
    assert said.count("\n") == 0


def test_an_answer_names_its_file(models, image, tmp_path):
    file = tmp_path / "photo.png"
    Image.fromarray(image).save(file)
    model = models("refcoco")
    first, second = model.refer([file, image], ["a man", "a man"])
    assert (first.picture, second.picture) == (str(file), None)
    assert first == second
