"""`refhcm ask --shard`: each question is answered once, in one process or in several, and put together unchanged."""

import argparse
import io
import tarfile

import pytest
from asking import failed, lines, run
from PIL import Image

from refhcm.apps.cli.ask.questions import Job
from refhcm.apps.cli.ask.shards import Shard, own_shard, shard


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for k in range(5):
        Image.new("RGB", (20 + k, 30)).save(tmp_path / "photos" / f"{k}.png")
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def outside_torchrun(monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def ask(folder, *arguments):
    return run(folder, "--text", "a man", "--text", "a woman", "--out", folder.parent / "answers.jsonl", *arguments)


def test_parts_put_together_are_what_one_process_writes(model, folder, capsys):
    whole = folder.parent / "answers.jsonl"
    assert ask(folder) == 0
    expected = lines(whole)
    whole.unlink()
    model.calls.clear()
    for part in ("1/2", "0/2"):
        assert ask(folder, "--shard", part) == 0
    sizes = [len(lines(folder.parent / f"answers-0000{k}-of-00002.jsonl")) for k in range(2)]
    assert sizes == [4, 6]  # two questions about each of 2 and of 3 pictures
    asked = len(model.calls)
    assert ask(folder, "--shard", "0/2") == 0  # it is finished
    assert f"{folder.parent / 'answers-00000-of-00002.jsonl'}: 0 answered, 4 skipped" in capsys.readouterr().err
    assert ask(folder, "--openpose", folder.parent / "poses") == 0
    assert len(model.calls) == asked
    assert lines(whole) == expected
    before = whole.read_bytes()
    assert ask(folder) == 0  # taking the parts again doubles nothing
    assert whole.read_bytes() == before
    assert "10 skipped (already done)" in capsys.readouterr().err


def test_the_ranks_of_torchrun_are_parts(model, folder, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "5")
    monkeypatch.setenv("RANK", "4")
    assert ask(folder) == 0
    found = lines(folder.parent / "answers-00004-of-00005.jsonl")
    assert [line["image"] for line in found] == [str(folder / "4.png")] * 2


def test_a_part_is_there_as_a_whole_or_not_at_all(model, folder, monkeypatch):
    part = folder.parent / "answers-00000-of-00001.jsonl"
    answer, model.refer = model.refer, None
    with pytest.raises(TypeError):
        ask(folder, "--shard", "0/1")
    assert not part.exists()
    assert part.with_name(part.name + ".part").exists()
    model.refer = answer
    assert ask(folder, "--shard", "0/1") == 0
    assert len(lines(part)) == 10
    assert not part.with_name(part.name + ".part").exists()


def test_a_part_is_missing_or_unfinished(model, folder, capsys):
    ask(folder, "--shard", "0/2")
    assert ask(folder) == 2
    assert failed(capsys).endswith("answers-00001-of-00002.jsonl: is not finished; run the same with --shard 1/2 first")
    (folder.parent / "answers-00000-of-00003.jsonl.part").touch()
    assert ask(folder) == 2
    assert "there are parts of 2 and of 3; remove those" in failed(capsys)


def test_a_part_of_another_model(model, folder, capsys):
    ask(folder, "--shard", "0/1")
    part = folder.parent / "answers-00000-of-00001.jsonl"
    part.write_text(part.read_text().replace("shipped#", "other#"))
    assert ask(folder) == 2
    assert "was written by another model (other#" in failed(capsys)
    assert (folder.parent / "answers.jsonl").read_text() == ""


def test_errors_of_a_part_are_asked_again_in_the_end(model, folder):
    out = folder.parent / "answers.jsonl"
    (folder / "5.png").write_bytes(b"no picture")
    assert run(folder, "--text", "a man", "--out", out, "--shard", "0/1") == 1
    Image.new("RGB", (9, 9)).save(folder / "5.png")
    assert run(folder, "--text", "a man", "--out", out) == 0
    assert [line.get("error", line.get("box")) for line in lines(out)][-1] == [0, 0, 9, 9]


def test_pictures_of_archives(model, tmp_path):
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for k in range(3):
            file = io.BytesIO()
            Image.new("RGB", (20 + k, 30)).save(file, "PNG")
            for name, data in ((f"{k}.png", file.getvalue()), (f"{k}.txt", b"man %d" % k)):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    out, folder = tmp_path / "answers.jsonl", tmp_path / "drawn"
    assert run(tmp_path / "shard.tar", "--text", "a man", "--out", out, "--save-images", folder) == 0
    assert [line["box"][2] for line in lines(out)] == [20, 21, 22]
    assert all(line["picture"] for line in lines(out))
    assert len(list(folder.iterdir())) == 3
    assert run("--pairs", tmp_path / "shard.tar", "--out", tmp_path / "pairs.jsonl") == 0
    assert [line["question"]["refer"] for line in lines(tmp_path / "pairs.jsonl")] == ["man 0", "man 1", "man 2"]


def test_every_picture_is_in_one_part():
    jobs = [Job(str(picture), {"refer": text}) for picture in range(7) for text in "ab"]
    for count in (1, 2, 3, 9):
        parts = [Shard(k, count).part_of(jobs) for k in range(count)]
        assert [job for part in parts for job in part] == jobs
        assert {len(part) // 2 for part in parts} <= {7 // count, 7 // count + 1}


@pytest.mark.parametrize("text", ["2/2", "-1/2", "1", "a/b", "0/0"])
def test_no_part(text):
    with pytest.raises(argparse.ArgumentTypeError, match="needs I/N with 0 <= I < N"):
        shard(text)


def test_whose_part(monkeypatch):
    assert own_shard(None) is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert own_shard(None) is None
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert own_shard(None) == Shard(0, 3)
    assert own_shard(Shard(1, 2)) == Shard(1, 2)


def test_what_a_part_needs(model, folder, capsys):
    assert run(folder, "--text", "a man", "--shard", "0/2") == 2
    assert "--shard 0/2: needs --out FILE" in failed(capsys)
    assert ask(folder, "--shard", "0/2", "--coco", folder.parent / "coco.json") == 2
    assert "leave out --coco" in failed(capsys)
