"""`Ask` for Ray Data: what each row gets. With Ray itself: slow, where it is installed."""

import io
import json
import os
import sys

import numpy as np
import pytest
from asking import Model
from PIL import Image

from refhcm.apps import ray as door
from refhcm.apps.cli.ask import answering
from refhcm.utils.errors import UserError


def png(width):
    file = io.BytesIO()
    Image.new("RGB", (width, 30)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def model(monkeypatch):
    model = Model()
    monkeypatch.setattr(door, "load", lambda checkpoint, **options: model)
    return model


def column(*values):
    found = np.empty(len(values), object)
    found[:] = values
    return found


def test_each_row_has_an_answer_or_an_error(model, tmp_path):
    Image.new("RGB", (7, 30)).save(tmp_path / "a.png")
    pictures = column(png(5), str(tmp_path / "a.png"), np.zeros((30, 9, 3), np.uint8), b"no picture", png(6), png(8))
    texts = column("a man", "a man", "a man", "a man", "is bad", "a man")
    batch = {"image": pictures, "text": texts, "id": np.arange(6)}
    found = door.Ask()(batch)
    assert list(found) == ["image", "text", "id", "answer", "error"]
    assert found["id"].tolist() == [0, 1, 2, 3, 4, 5]
    assert [json.loads(answer)["box"][2] if answer else None for answer in found["answer"]] == [5, 7, 9, None, None, 8]
    assert [error[:41] for error in found["error"]] == [
        "", "", "", "image: cannot be read as a picture (unkno", "expression: is bad", "",
    ]  # fmt: skip


def test_everyone_and_what_is_wanted(model):
    ask = door.Ask(everyone=True, wanted=["keypoints"], image="picture", text="who")
    found = ask({"picture": column(png(5)), "who": column("2 men")})
    assert [person["keypoints"][0]["name"] for person in json.loads(found["answer"][0])["people"]] == ["nose", "nose"]


def test_mistakes(model):
    with pytest.raises(UserError, match=r"wanted: expected some of keypoints, .*, got 'pose'"):
        door.Ask(wanted=["pose"])
    with pytest.raises(UserError, match="the batch has no column 'image'; it has picture, text"):
        door.Ask()({"picture": column(b""), "text": column("a")})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"wanted": ["parallel"]}, "parallel needs parsing"),
        (
            {"wanted": ["parsing", "parallel"], "everyone": True},
            "parallel: with everyone, parts are asked by each one's",
        ),
        ({"wanted": ["parsing"]}, "parsing needs the parsing-map tokenizer; name its folder as tokenizer, or run: "),
        ({"everyone": True, "wanted": ["keypoints"]}, "has not learned keypoints by box"),
    ],
)
def test_what_the_model_cannot_do_is_said_when_it_is_made(model, asked, message):
    model.tokenizer, model.learned = None, ("grec",)
    with pytest.raises(UserError, match=message):
        door.Ask(**asked)
    model.learned = ()
    with pytest.raises(UserError, match="has not learned to give everyone"):
        door.Ask(everyone=True)


def test_a_missing_text_is_no_word(model):
    found = door.Ask()({"image": column(png(5), png(5), png(6)), "text": column(None, float("nan"), "a man")})
    assert model.calls[0][1] == ["", "", "a man"]
    assert found["error"].tolist() == ["", "", ""]  # of this model, which takes all


def test_a_batch_ends_where_its_pictures_are_large(model, monkeypatch):
    monkeypatch.setattr(answering, "HELD_BYTES", 3 * 30 * 12)
    pictures = column(png(5), np.zeros((30, 7, 3), np.uint8), b"no picture", png(9))
    found = door.Ask()({"image": pictures, "text": column(*"abcd")})
    assert [asked for _, asked in model.calls] == [["a", "b"], ["d"]]
    assert [bool(error) for error in found["error"]] == [False, False, True, False]


class DiesOnce:
    """Stands for a worker that is killed in the middle of the work, once for all workers together."""

    def __init__(self, marker):
        self.marker, self.model = marker, None

    def __call__(self, batch):
        if self.model is None:
            self.model = door.Ask(device="cpu")
        if 13 in batch["id"]:
            try:
                os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                pass
            else:
                os._exit(1)
        return {name: value for name, value in self.model(batch).items() if name != "image"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own settings
def test_in_ray_with_a_worker_that_dies(tmp_path):
    ray = pytest.importorskip("ray", reason="needs Ray: pip install 'ray[data]'")
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": variables})
    try:
        pictures = [png(20 + k % 7) for k in range(32)]
        rows = [{"image": data, "text": "the woman in red", "id": k} for k, data in enumerate(pictures)]
        workers = ray.data.ActorPoolStrategy(size=2)
        done = ray.data.from_items(rows, override_num_blocks=4).map_batches(
            DiesOnce, fn_constructor_args=(str(tmp_path / "died"),), compute=workers, batch_size=4
        )
        found = sorted(done.take_all(), key=lambda row: row["id"])
    finally:
        ray.shutdown()
    assert (tmp_path / "died").exists()
    assert [row["id"] for row in found] == list(range(32))
    alone = door.Ask(device="cpu")({"image": column(*pictures), "text": column(*["the woman in red"] * 32)})
    assert [row["answer"] for row in found] == alone["answer"].tolist()
