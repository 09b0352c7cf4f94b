"""The adapter for Florence-2: a tiny network of random weights, answers a table; its answers are scored."""

import base64
import io
import json

import pytest
import torch
from commands import refhcm
from PIL import Image

from refhcm.examples.florence2 import answer_table, florence2, main
from refhcm.utils.errors import UserError

SIDE = 64  # px that the tiny network sees
LOCATIONS = [f"<loc_{k}>" for k in range(1000)]
BOXES = [(10 * k, 10, 10 * k + 40, 90) for k in range(5)]


@pytest.fixture
def table(tmp_path):
    """REC of five rows; pictures of 200 x 100 px of different colours."""
    lines = []
    for k, box in enumerate(BOXES):
        file = io.BytesIO()
        Image.new("RGB", (200, 100), (40 * k, 0, 0)).save(file, "PNG")
        cells = [
            f"r{k}",
            "x",
            f"the man number {k}",
            ",".join(map(str, box)),
            base64.b64encode(file.getvalue()).decode(),
        ]
        lines.append("\t".join(cells) + "\n")
    path = tmp_path / "rec.tsv"
    path.write_text("".join(lines))
    return path


def score(table, answers, capsys):
    command = ["score", table, answers, "--task", "refcoco", "--coordinates", "florence-2", "--format", "json"]
    capsys.readouterr()
    assert refhcm(*command, "--resamples", "20") == 0
    return json.loads(capsys.readouterr().out)


def test_what_a_model_says_reaches_the_score(table, tmp_path, capsys):
    """It is right about the first three rows. A picture's 1000 cells are 0.2 px wide and 0.1 px high."""
    asked = []

    def ground(images, expressions):
        asked.append(len(images))
        assert {image.size for image in images} == {(200, 100)}
        for expression in expressions:
            k = int(expression.rpartition(" ")[2])
            x0, y0, x1, y1 = BOXES[k] if k < 3 else BOXES[0]
            yield f"</s><s>the man<loc_{5 * x0}><loc_{10 * y0}><loc_{5 * x1}><loc_{10 * y1}></s>", -0.1 * k

    answer_table(table, tmp_path / "answers.jsonl", ground, selected_cols=None, batch_size=2)
    report = score(table, tmp_path / "answers.jsonl", capsys)
    assert asked == [2, 2, 1]
    assert report["metrics"]["score"]["value"] == 3 / 5
    assert report["counts"] == {"rows": 5, "answered": 5, "missing": 0, "unknown": 0, "doubled": 0, "unreadable": 0}
    assert report["risk"]["table"][-1]["quality"] == 1  # the most confident answer is right


def test_transformers_may_be_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(UserError, match="pip install"):
        florence2("any", "grounding")


def make_tiny(folder):
    """A model and its processor as the hub has them, with words of one byte. It writes four locations and ends."""
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    if not hasattr(transformers, "Florence2ForConditionalGeneration"):
        pytest.skip(f"transformers {transformers.__version__} has no Florence-2: 4.56 or later needed")
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(ByteLevel.alphabet())]
    vocabulary, special = {piece: k for k, piece in enumerate(pieces)}, {"image_token": "<image>"}
    tokenizer = transformers.BartTokenizer(vocab=vocabulary, merges=[], extra_special_tokens=special)
    tokenizer.add_tokens(LOCATIONS)
    symbols = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    sizes = {f"{side}_{name}": 1 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")}
    sizes |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "d_model": 16, "max_position_embeddings": 200}
    text = transformers.BartConfig(vocab_size=len(tokenizer), **sizes, **symbols, forced_eos_token_id=2)
    ones, vision = (1,) * 4, {"window_size": 2, "projection_dim": 16, "embed_dim": (8,) * 4, "drop_path_rate": 0.0}
    vision |= {"depths": ones, "num_heads": ones, "num_groups": ones}
    config = transformers.Florence2Config(
        text_config=text.to_dict(), vision_config=vision, image_token_id=tokenizer.image_token_id
    )
    torch.manual_seed(0)
    model = transformers.Florence2ForConditionalGeneration(config)
    known = set(tokenizer.convert_tokens_to_ids([*LOCATIONS, "</s>"]))
    others = [k for k in range(len(tokenizer)) if k not in known]
    model.generation_config = transformers.GenerationConfig(
        **symbols, forced_eos_token_id=2, suppress_tokens=others, min_length=6
    )
    side = {"height": SIDE, "width": SIDE}
    images = transformers.CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False)
    images.image_seq_length = (SIDE // 32) ** 2 + 1
    model.save_pretrained(folder)
    transformers.Florence2Processor(images, tokenizer, post_processor_config={}).save_pretrained(folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_tiny_florence2_answers_a_table(table, tmp_path, capsys, monkeypatch):
    """Whatever the batch: an answer to each row, each a box that can be read."""
    make_tiny(tmp_path / "tiny")
    monkeypatch.setattr("refhcm.examples.florence2.MOST_TOKENS", 5)  # four locations and the end
    found = []
    for size in ("2", "5"):
        out = tmp_path / f"{size}.jsonl"
        main([str(table), str(out), "--model", str(tmp_path / "tiny"), "--batch-size", size])
        found.append([json.loads(line) for line in out.read_text().splitlines()])
    assert [answer["id"] for answer in found[0]] == [f"r{k}" for k in range(5)]
    assert [answer["answer"] for answer in found[0]] == [answer["answer"] for answer in found[1]]
    assert [one["score"] for one in found[0]] == pytest.approx([one["score"] for one in found[1]], abs=1e-4)
    report = score(table, tmp_path / "2.jsonl", capsys)
    assert report["counts"]["answered"] == 5
    assert report["counts"]["unreadable"] == 0
