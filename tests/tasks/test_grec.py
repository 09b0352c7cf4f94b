"""Generalised REC: nobody, one and several, in and out; what a row may hold; when an answer ends."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from refhcm.data.annotation import LOWEST_SCORE
from refhcm.data.columns import MOST_BOXES, kind_of, parse_boxes
from refhcm.data.dataset import BadRow
from refhcm.models.generated import Generated
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network
from refhcm.models.whole_boxes import BoxesGenerator
from refhcm.tasks.evaluation import evaluate
from refhcm.utils.errors import DataError

EOS = 2


@pytest.fixture
def task(make_task):
    return make_task("grec", patch_image_size=64, max_image_size=64)


@pytest.fixture
def table(world, tmp_path):
    """`table(boxes, id=, expression=)`: a table of one row about the world's first picture."""
    picture = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").split("\n", 1)[0].split("\t")[5]

    def write(boxes, *, row_id="a", expression="all people"):
        line = "\t".join((row_id, "train_0", expression, boxes, picture))
        (tmp_path / "grec.tsv").write_text(line + "\n", encoding="utf-8")
        return tmp_path / "grec.tsv"

    return write


def symbols(task, ids):
    return [task.vocabulary[i] for i in ids.tolist()]


def bins(task, *numbers):
    return [task.vocabulary.bin_ids[number] for number in numbers]


def test_boxes_from_left_to_right_whatever_their_order(task, table):
    """By x0, then y0, as bins: two boxes that begin in one bin are in the order of their next bins."""
    sample = task.open(table("90,20,120,60;10,50,40,90;10,20,30,70.5"), training=True)[0]
    ratios = np.array([sample["w_resize_ratio"], sample["h_resize_ratio"]] * 2)
    ordered = np.array([[10, 20, 30, 70.5], [10, 50, 40, 90], [90, 20, 120, 60]])
    found = task.parse(sample["target"])
    assert found.valid
    assert np.abs(found.boxes_xyxy - ordered * ratios).max() <= 64 / 99 / 2 + 1e-3
    assert len(sample["target"]) == 13
    assert sample["prev_output_tokens"].tolist() == [0, *sample["target"][:-1].tolist()]


def test_nobody_is_eos_at_once(task, table):
    sample = task.open(table("", row_id="a_near"), training=True)[0]
    assert sample["target"].tolist() == [EOS]
    assert sample["prev_output_tokens"].tolist() == [0]
    found = task.parse(sample["target"])
    assert found.valid
    assert found.boxes_xyxy.shape == (0, 4)


def test_the_prompt_differs_from_rec_s(task, table):
    source = task.open(table("", expression="The People in red"), training=True)[0]["source"]
    assert task.text.decode(source) == ' which regions does the text " the people in red " describe?'


def test_only_bins_are_written_and_at_most_twenty_boxes(task):
    bin_ids = task.vocabulary.bin_ids
    span = f"{bin_ids.start},{bin_ids.stop}"
    assert task.generation_settings() == GenerationSettings(
        beam=1, min_len=0, max_len_b=4 * MOST_BOXES, constraint_range=span
    )


@pytest.mark.parametrize(
    ("answer", "valid", "boxes"),
    [
        ([1, 2, 3, 4], True, 1),  # without eos
        ([1, 2, 3, 4, "end", 9], True, 1),  # what follows eos is not part of the answer
        ([1, 2, 3, 4, 5, 6], False, 1),  # a remainder
        ([1, 2, 3], False, 0),
        (["word", 1, 2, 3, 4], False, 0),
        ([1, 2, 3, 4, "code", 5, 6, 7, 8], False, 1),  # nothing is guessed after a stray symbol
        ([9, 2, 3, 4, 5, 6, 7, 8], False, 1),  # the first box's corners are swapped
        ([3, 2, 3, 2], True, 1),  # corners in one bin
        ([1, 2, 3, 4, 1, 2, 3, 4], True, 2),
    ],
)
def test_what_can_be_read(task, answer, valid, boxes):
    words = {"end": EOS, "word": task.text.encode(" a")[0].item(), "code": task.vocabulary.code_ids[3]}
    ids = torch.tensor([words[one] if isinstance(one, str) else bins(task, one)[0] for one in answer])
    found = task.parse(ids)
    assert (found.valid, len(found.boxes_xyxy)) == (valid, boxes)
    assert found.boxes_xyxy.dtype == np.float32


def test_no_answer_is_not_an_answer_about_nobody(task):
    ids = torch.tensor([EOS])
    found = task.parse_batch([Generated(ids, -0.1), Generated(ids, LOWEST_SCORE)], torch.device("cpu"))
    assert [one.valid for one in found] == [True, False]


@pytest.mark.parametrize(
    ("boxes", "options", "message"),
    [
        ("1,2,3", {}, "column boxes: needs 4 finite numbers x0,y0,x1,y1, got '1,2,3'"),
        ("1,2,3,4;", {}, "column boxes: needs 4 finite numbers x0,y0,x1,y1, got ''"),
        ("nobody", {}, "column boxes: needs 4 finite numbers"),
        ("9,9,5,12", {}, "column boxes: needs x1 > x0 and y1 > y0, got '9,9,5,12'"),
        ("9000,9000,9001,9001", {}, "column boxes: 9000,9000,9001,9001 is wholly outside the picture"),
        ("1,2,3,4;5,2,6,4;1.0,2,3,4", {}, "column boxes: the same box comes twice"),
        (";".join(f"{k},2,30,40" for k in range(21)), {}, "column boxes: needs 20 boxes or fewer, got 21"),
        ("1,2,3,4", {"row_id": "7_blank"}, "column boxes: the id '7_blank' is of a row that fits nobody"),
        ("", {"expression": " "}, "column expression: is empty"),
        ("", {"expression": " ...?! "}, "column expression: needs a letter or a digit, got ' ...?! '"),
        ("", {"expression": '"-"'}, "column expression: needs a letter or a digit"),
        ("", {"expression": "★ ☆"}, "column expression: needs a letter or a digit"),
    ],
)
def test_bad_rows_say_where_and_what(task, table, boxes, options, message):
    path = table(boxes, **options)
    bad = task.open(path, training=True)[0]
    assert isinstance(bad, BadRow)
    assert bad.message.startswith(f"{path}:1: {message}")


def test_a_box_partly_outside_is_clipped_and_counted(task, table):
    sample = task.open(table("5,5,9,9;-3,4,8,9"), training=True)[0]
    assert sample["clipped"]
    assert symbols(task, sample["target"])[0] == "<bin_0>"
    assert not task.open(table("", row_id="b"), training=True)[0]["clipped"]


def test_kinds_are_read_from_the_end_of_an_id():
    ids = ("3_near", "train_00_g4_other", "5_blank", "3_near_1", "blank", "7")
    assert [kind_of(one) for one in ids] == ["near", "other", "blank", "", "", ""]
    with pytest.raises(DataError, match=r"^here:3: column boxes"):
        parse_boxes("x", "here:3")


def test_record_and_scores_in_image_px(task):
    """The picture is 128 px wide and 32 high, the canvas 64 x 64."""
    boxes = np.full((MOST_BOXES, 4), np.nan, np.float32)
    boxes[:2] = [[0, 0, 32, 16], [64, 0, 128, 32]]
    labels = {"id": "a", "w_resize_ratios": 0.5, "h_resize_ratios": 2.0, "boxes": boxes}
    found = replace(task.parse(torch.tensor(bins(task, 0, 0, 99, 99))), score=-0.5)
    assert task.record(found, labels) == {
        "uniq_id": "a",
        "boxes": [[0, 0, 128, 32]],
        "labels": [[0, 0, 32, 16], [64, 0, 128, 32]],
        "score": -0.5,
        "valid": True,
    }
    scores = task.summarize([task.statistics(found, labels)])  # IoU 1/2 with the second
    assert (scores["recall"], scores["precision"], scores["pr_f1"], scores["invalid"]) == (0.5, 1, 0, 0)
    nobody = task.statistics(task.parse(torch.tensor([EOS])), labels | {"boxes": boxes[2:], "id": "b_other"})
    unread = task.statistics(task.parse(torch.tensor(bins(task, 1, 2))), labels | {"boxes": boxes[2:], "id": "c"})
    scores = task.summarize([nobody, unread])
    assert (scores["n_acc"], scores["rejection_other"], scores["t_acc"], scores["invalid"]) == (0.5, 1, None, 0.5)
    assert task.summarize([]) == {}


def written(task, probabilities):
    """What the search writes if the network's probabilities at each step are these, by symbol."""
    size = len(task.vocabulary)

    class Told(BoxesGenerator):
        def _log_probs(self, logits):
            scores = torch.full((*logits.shape[:-1], logits.shape[-1]), 1e-9)
            for symbol, probability in probabilities[min(self.step, len(probabilities) - 1)].items():
                scores[..., symbol] = probability
            self.step += 1
            return scores.log()

    config = NetworkConfig(**SIZES["refhcm_test"] | {"resnet_width": 8})
    network = Network(config, size).eval()
    generator = Told(replace(task.generation, constraint_range=None))
    generator.step = 0
    source = torch.tensor([[0, 5, 2]])
    net_input = {"src_tokens": source, "patch_images": torch.zeros(1, 3, 64, 64), "patch_masks": torch.tensor([True])}
    ((first, *_),) = generator.generate([network], {"net_input": net_input})
    return first["tokens"].tolist()


def test_an_answer_ends_where_the_end_is_probable_enough(task):
    """A person's first coordinate is spread over three bins: none alone is as probable as eos."""
    a, b, c = bins(task, 10, 11, 12)
    spread = {a: 0.24, b: 0.2, c: 0.2, EOS: 0.36}
    assert written(task, [spread, {b: 0.6, EOS: 0.4}, {c: 1}, {c: 1}, {EOS: 0.39, a: 0.61}]) == [a, b, c, c, EOS]
    assert written(task, [{EOS: 0.39, a: 0.61}]) == [EOS]


def test_whole_boxes_even_where_eos_is_certain(task):
    (a,) = bins(task, 10)
    assert written(task, [{a: 1}, {EOS: 1}, {EOS: 1}, {EOS: 1}, {EOS: 1}])[-1] == EOS
    assert len(written(task, [{a: 1}, {EOS: 1}, {EOS: 1}, {EOS: 1}, {EOS: 1}])) == 5
    assert len(written(task, [{a: 1}])) == 4 * MOST_BOXES + 1


def test_a_table_is_evaluated_in_batches_with_labels_of_any_number(task, table):
    """By an untrained network: there is an answer to every row."""
    path = table("")
    _, *line = path.read_text(encoding="utf-8").split("\t")
    rows = [("a", "3,4,20,30"), ("b_near", ""), ("c", "3,4,20,30;9,9,50,60;1,1,30,40")]
    path.write_text("".join("\t".join((row_id, *line[:2], boxes, line[3])) for row_id, boxes in rows))
    torch.manual_seed(0)
    network = Network(NetworkConfig(**SIZES["refhcm_test"] | {"resnet_width": 8}), len(task.vocabulary)).eval()
    data = task.open(path, training=False)
    metrics, records = evaluate(task, network, data, settings=task.generation_settings(), batch_size=2)
    assert metrics["count"] == 3
    assert [len(record["labels"]) for record in records] == [1, 0, 3]
    json.dumps([metrics, records], allow_nan=False)


def test_keypoints_are_asked_by_the_box_where_the_expression_is_none(make_task, world, tmp_path):
    """As parsing is: in a table and by the question alone, with the same answer to learn as by the expression."""
    line = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").split("\n", 1)[0].split("\t")
    by_box = [*line[:2], "None", *line[3:]]
    (tmp_path / "rkpt.tsv").write_text("\t".join(line) + "\n" + "\t".join(by_box) + "\n", encoding="utf-8")
    task = make_task("rkpt")
    rows = task.open(tmp_path / "rkpt.tsv", training=True)
    box = rows[0]["target"][:4]
    words = " ".join(symbols(task, box))
    assert rows[1]["source"].tolist() == [0, *task.text.encode_words(task.prompt.format(words)).tolist(), EOS]
    assert rows[1]["target"].equal(rows[0]["target"])
    assert rows[0]["source"].tolist() != rows[1]["source"].tolist()
    annotation = task.annotation(rows.file[1], "here:1")
    question = task.question(replace(annotation, keypoints=None), task.canvas.resized(annotation.image))
    assert question["source"].equal(rows[1]["source"])
