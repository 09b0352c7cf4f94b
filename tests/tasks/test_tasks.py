"""Each task's two inverse pairs, its scores, and its errors, on the drawn world."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from refhcm.data.annotation import Prediction
from refhcm.data.dataset import BadRow
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.qpg import ParallelAnswers
from refhcm.tasks import TASKS
from refhcm.tasks.base import TURNED
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.errors import UserError

ANSWERED = tuple(TASKS)


def rows_of(make_task, name, world, coded, **options):
    task = make_task(name, selected_cols="0,5,2,3" if name == "refcoco" else None, **options)
    tables = {name: world / name / "train.tsv" for name in ("rhrc", "grec")}
    table = (tables | {"rpar": coded, "rpar_full_mask": coded}).get(name, world / "rkpt" / "train.tsv")
    return task, task.open(table, training=True)


@pytest.mark.parametrize(
    ("name", "evaluated", "asked"),
    [
        ("refcoco", {"min_len": 4, "max_len_b": 4, "no_repeat_ngram_size": 3, "constraint_range": "357,457"}, {}),
        ("rkpt", {"min_len": 50, "max_len_b": 200}, {"min_len": 4}),
        ("rpar", {"min_len": 52, "max_len_b": 52}, {}),
        ("rhrc", {"min_len": 1, "max_len_b": 200}, {}),
    ],
)
def test_how_answers_are_generated(name, evaluated, asked, make_task):
    """The table of docs/generation.md; only a person's keypoints are asked for with fewer symbols."""
    task = make_task(name)
    expected = GenerationSettings(beam=5, max_len_a=0, **evaluated)
    assert task.generation_settings() == expected
    assert task.asking_settings() == replace(expected, **asked)


@pytest.mark.parametrize("name", ANSWERED)
def test_target_reads_back(name, make_task, world, coded):
    task, rows = rows_of(make_task, name, world, coded)
    half = 512 / 99 / 2 + 1e-3
    for i in range(min(len(rows), 12)):
        sample = rows[i]
        target = sample["target"]
        if name == "rpar_full_mask":  # what decoding gives: without the reserved places
            target = torch.cat([target[:4], target[6:]])
        prediction = task.parse(target)
        assert prediction.valid
        ratios = np.array([sample["w_resize_ratio"], sample["h_resize_ratio"]] * 2)
        if prediction.box_xyxy is not None:
            assert np.abs(prediction.box_xyxy - np.clip(sample["region_coord"] * ratios, 0, 512)).max() <= half
        if name == "rkpt":
            points = sample["keypoints"].reshape(17, 2) * ratios[:2]
            assert np.abs(prediction.keypoints.reshape(17, 2) - points).max() <= half
        if name.startswith("rpar"):
            assert prediction.codes.tolist() == sample["parsing_code"].tolist()
        if name == "rhrc":
            assert prediction.caption
            assert len(prediction.caption.split()) <= 6


@pytest.mark.parametrize("name", ANSWERED)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.integers(0, 456), max_size=70))
def test_rubbish_is_read_without_an_error(name, ids, make_task):
    task = make_task(name)
    prediction = task.parse(torch.tensor(ids, dtype=torch.long))
    assert isinstance(prediction, Prediction)
    if not ids and name != "rhrc":
        assert prediction.valid == (name == "grec")  # nobody


@pytest.mark.parametrize("name", ["refcoco", "rkpt", "rpar", "rpar_full_mask"])
@pytest.mark.parametrize("answer", ["", "<bin_3> <bin_4> <bin_9>", "<code_1> <bin_3> <bin_4> <bin_5> <bin_6>"])
def test_incomplete_boxes_are_invalid(name, answer, make_task):
    task = make_task(name)
    ids = task.text.encode_words(answer)
    if name == "rkpt" and "code" in answer:  # codes are skipped there
        assert task.parse(ids).valid
    else:
        assert not task.parse(ids).valid


def test_parsing_asks_by_box_when_there_is_no_expression(make_task, world, coded, tmp_path):
    line = coded.read_text(encoding="utf-8").splitlines()[0].split("\t")
    line[1] = "None"
    (tmp_path / "none.tsv").write_text("\t".join(line) + "\n", encoding="utf-8")
    by_box = make_task("rpar").open(tmp_path / "none.tsv", training=True)[0]["source"].tolist()
    by_word = make_task("rpar_full_mask").open(tmp_path / "none.tsv", training=True)[0]["source"].tolist()
    bins = make_task("rpar").vocabulary.bin_ids
    assert sum(symbol in bins for symbol in by_box) == 4
    assert not any(symbol in bins for symbol in by_word)
    assert " none " in make_task("rpar_full_mask").text.decode(by_word)


def test_layout_of_parallel_parsing(make_task, coded):
    task = make_task("rpar_full_mask")
    sample = task.open(coded, training=True)[0]
    words = [task.vocabulary[i] for i in sample["prev_output_tokens"].tolist()]
    assert len(words) == 55
    assert words[0] == "<s>"
    assert words[5:] == [f"<code_{k}>" for k in (40, *range(42, 90), 41)]
    target = [task.vocabulary[i] for i in sample["target"].tolist()]
    assert target[4:6] == ["<code_40>", "<pad>"]
    assert target[6:54] == [f"<code_{k}>" for k in sample["parsing_code"]]
    assert target[54] == "</s>"
    assert sample["full_mask_position"] == (6, 53)


def test_box_accuracy_by_hand(make_task):
    task = make_task("refcoco")
    labels = {"id": "a", "w_resize_ratios": 2.0, "h_resize_ratios": 4.0, "region_coords": np.array([10, 10, 20, 20.0])}
    right = Prediction(valid=True, box_xyxy=np.array([20, 40, 40, 80], np.float32))
    wrong = Prediction(valid=False)
    rows = [task.statistics(prediction, labels) for prediction in (right, wrong, right, right)]
    assert task.summarize(rows) == {"score": 0.75, "invalid": 0.25}
    assert task.record(right, labels) == {"uniq_id": "a", "box": [10, 10, 20, 20]}
    assert task.record(wrong, labels)["box"] == [0, 0, 0, 0]


def test_parsing_scores_by_hand(make_task):
    task = make_task("rpar")
    gt = np.zeros((512, 512), np.int32)
    gt[:256, :256] = 5
    labels = {
        "id": "a",
        "w_resize_ratios": 1.0,
        "h_resize_ratios": 1.0,
        "region_coords": np.array([0, 0, 256, 256.0]),
        "gt": gt,
    }
    half = torch.full((8, 6), 5)
    half[:, 3:] = 0  # the right half is missing
    prediction = Prediction(valid=True, box_xyxy=np.array([0, 0, 256, 256], np.float32), label_map=half)
    metrics = task.summarize([task.statistics(prediction, labels)])
    background = (512**2 - 256**2) / (512**2 - 256**2 / 2)
    assert metrics["box_score"] == 1.0
    assert metrics["miou"] == pytest.approx((0.5 + background) / 2)
    assert metrics["pixel_acc"] == pytest.approx(1 - 1 / 8)
    assert metrics["mean_acc"] == pytest.approx(0.75)


def test_rows_out_of_the_canvas_are_marked(make_task, world, tmp_path):
    line = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    line[3] = "-20,-10,5000,4000"
    (tmp_path / "out.tsv").write_text("\t".join(line) + "\n", encoding="utf-8")
    sample = make_task("refcoco", selected_cols="0,5,2,3", patch_image_size=512).open(
        tmp_path / "out.tsv", training=True
    )[0]
    bins = make_task("refcoco").vocabulary.bin_ids
    assert sample["clipped"]
    assert sample["target"][:4].tolist() == [bins.start, bins.start, bins.stop - 1, bins.stop - 1]


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        ("refcoco", 3, "1,2,3", "column box: needs 4 finite numbers"),
        ("refcoco", 3, "5,5,5,9", "column box: needs x1 > x0"),
        ("refcoco", 3, "9000,9000,9001,9001", "wholly outside"),
        ("refcoco", 5, "bm90IGEgcGljdHVyZQ==", "column image: cannot be read as a picture"),
        ("refcoco", 5, "***", "column image: needs base64"),
        ("rkpt", 4, "1,2,3", "column keypoints: needs 34"),
        ("rpar", 3, "1,2", "needs 48 whole numbers in 0..31"),
        ("rpar", 3, ",".join(["32"] * 48), "needs 48 whole numbers in 0..31"),
        ("rpar", 4, "nowhere.npy", "column mask"),
        ("rhrc", 1, "   ", "column caption: is empty"),
        *(("rhrc", 1, blank, "needs a caption with a word in it, got") for blank in ("&&", " && .", "[1, 2]&&!")),
    ],
)
def test_bad_rows_say_where_and_what(name, column, value, message, make_task, world, coded, tmp_path):
    table = {"rpar": coded, "rhrc": world / "rhrc" / "train.tsv"}.get(name, world / "rkpt" / "train.tsv")
    line = table.read_text(encoding="utf-8").splitlines()[0].split("\t")
    line[column] = value
    (tmp_path / "bad.tsv").write_text("\t".join(line) + "\n", encoding="utf-8")
    columns = "0,5,2,3" if name == "refcoco" else None
    bad = make_task(name, selected_cols=columns).open(tmp_path / "bad.tsv", training=False)[0]
    assert isinstance(bad, BadRow)
    assert bad.message.startswith(f"{tmp_path / 'bad.tsv'}:1: ")
    assert message in bad.message


def test_masks_must_fit_their_picture(make_task, world, coded, tmp_path):
    line = coded.read_text(encoding="utf-8").splitlines()[0].split("\t")
    folder = world / "rpar" / "annos" / "gts" / "odd"
    folder.mkdir(exist_ok=True)
    for number, (mask, message) in enumerate(
        [
            (np.zeros((5, 7), np.uint8), "is 7 x 5, its picture"),
            (np.load(world / "rpar/annos/gts" / line[4]) + 30, "needs classes 0..19"),
        ]
    ):
        np.save(folder / f"{number}.npy", mask)
        line[4] = f"odd/{number}.npy"
        (tmp_path / "bad.tsv").write_text("\t".join(line) + "\n", encoding="utf-8")
        bad = make_task("rpar").open(tmp_path / "bad.tsv", training=False)[0]
        assert message in bad.message


def test_a_missing_tokenizer_is_asked_for(make_task):
    with pytest.raises(UserError, match=r"--vq-config model\.yaml and --vq-ckpt model\.ckpt"):
        _ = make_task("rpar").tokenizer


def test_parallel_answers_keep_the_same_probabilities(make_task):
    """At each step of all bins, or of the tokenizer's 32 of 96 codes; the others, and the end, have none."""
    task = make_task("rpar_full_mask")
    ids = torch.zeros(2, 52)
    answers = ParallelAnswers(ids, ids, torch.full((2, 4, 100), 0.01).log(), torch.full((2, 48, 96), 1 / 96).log())
    kept = task._kept(answers).exp()
    expected = torch.zeros(2, 52, len(task.kept_symbols))  # eos, bins, codes
    expected[:, :4, 1:101], expected[:, 4:, 101:133] = 0.01, 1 / 96
    torch.testing.assert_close(kept, expected)


@pytest.mark.parametrize(("symbols", "codes", "fits"), [(90, 40, True), (89, 32, False), (96, 41, False)])
def test_parallel_parsing_needs_fifty_codes_of_its_own(world, symbols, codes, fits):
    folder, chosen = world / "bpe", TaskSettings(code_dict_size=symbols, vq_n_embed=codes)
    text = TextEncoder.load(folder, Vocabulary.load(folder, num_bins=100, code_dict_size=symbols))
    if fits:
        queries = TASKS["rpar_full_mask"](text, chosen).symbols.queries
        assert queries.stop == text.vocabulary.code_ids.stop
    else:
        with pytest.raises(UserError, match="--code-dict-size 90 or more and --vq-n-embed 40 or less"):
            TASKS["rpar_full_mask"](text, chosen)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_boxes_count_in_upright_pixels(orientation, make_task, world, tmp_path):
    """A row with a picture that is stored turned gives the sample of the upright picture, and a remark."""
    columns = (world / "rkpt" / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    upright = Image.open(io.BytesIO(base64.b64decode(columns[5])))
    turn = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    cells = []
    for image, options in ((upright, {}), (upright.transpose(turn), {"exif": exif})):
        file = io.BytesIO()
        image.convert("RGB").save(file, "PNG", **options)
        cells.append(base64.b64encode(file.getvalue()).decode())
    lines = ["\t".join([*columns[:5], cell]) + "\n" for cell in cells]
    (tmp_path / "turned.tsv").write_text("".join(lines), encoding="utf-8")
    task = make_task("rkpt")
    rows = task.open(tmp_path / "turned.tsv", training=True)
    plain, turned = rows[0], rows[1]
    assert plain["target"].equal(turned["target"])
    assert plain["patch_image"].equal(turned["patch_image"])
    assert task.collate([plain, turned])["remarks"] == [(f"{tmp_path / 'turned.tsv'}:2", TURNED)]


def test_a_mask_may_be_a_png_with_ignored_pixels(make_task, world, coded, tmp_path):
    line = coded.read_text(encoding="utf-8").splitlines()[0].split("\t")
    mask = np.load(world / "rpar/annos/gts" / line[4]).astype(np.uint8)
    mask[::2] = 255
    Image.fromarray(mask).save(world / "rpar" / "annos" / "gts" / "ignored.png")
    line[4] = "ignored.png"
    (tmp_path / "png.tsv").write_text("\t".join(line) + "\n", encoding="utf-8")
    task = make_task("rpar")
    (row,) = [task.collate([task.open(tmp_path / "png.tsv", training=False)[0]])]
    labels = {name: values[0] for name, values in row.items() if isinstance(values, np.ndarray)}
    assert labels["gt"].shape == (512, 512)  # of the bins' canvas; the picture has 64 px
    everything = Prediction(valid=True, box_xyxy=np.array([0, 0, 512, 512]), label_map=np.full((8, 6), 7))
    confusion = task.statistics(everything, labels)["confusion"]
    assert confusion.sum() == (labels["gt"] != 255).sum() > 0
    assert confusion[:, 7].sum() == confusion.sum()
