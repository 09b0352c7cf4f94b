"""Models by name: found, downloaded after a yes, and otherwise one line that ends with the command that gets them."""

import io

import pytest

from refhcm.inference import names
from refhcm.inference.loading import load
from refhcm.inference.names import model_file
from refhcm.utils.errors import UserError


@pytest.fixture
def got(tmp_path, monkeypatch):
    """What is downloaded: the names and folders, below an empty clone elsewhere than the working folder."""
    clone, asked = tmp_path / "clone", []
    clone.mkdir()
    (clone / "pyproject.toml").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(names, "ROOT", clone)
    monkeypatch.delenv("REFHCM_OFFLINE", raising=False)

    def download(place, source, folder):
        asked.append((*source.files, folder.relative_to(clone).as_posix()))

    monkeypatch.setattr(names, "download_files", download)
    return asked


def answer(monkeypatch, text):
    """Somebody at a terminal types this."""
    typed = io.StringIO(text)
    typed.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", typed)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)


def test_a_path_is_left_alone(got, tmp_path):
    assert model_file("weights/model.pt").as_posix() == "weights/model.pt"
    (tmp_path / "here" / "refhcm").mkdir()
    (tmp_path / "here" / "refhcm" / "config.json").touch()
    assert model_file("refhcm").as_posix() == "refhcm"  # a model's folder of that name
    (tmp_path / "here" / "refhcm-tuned").touch()
    assert model_file("refhcm-tuned").as_posix() == "refhcm-tuned"  # a file of that name
    assert got == []


def test_a_clone_of_that_name_hides_nothing(got, tmp_path):
    (tmp_path / "here" / "refhcm" / "models").mkdir(parents=True)
    file = tmp_path / "here" / "checkpoints" / "refhcm.pt"
    file.parent.mkdir()
    file.touch()
    assert model_file("refhcm").resolve() == file


@pytest.mark.parametrize("place", ["here", "clone"])
def test_a_model_that_is_there_is_found(got, tmp_path, place):
    file = tmp_path / place / "checkpoints" / "refhcm.pt"
    file.parent.mkdir()
    file.touch()
    assert model_file("refhcm").resolve() == file
    assert got == []


@pytest.mark.parametrize("name", ["refhcm", "refhcm-tuned"])
def test_after_a_yes_all_three_parts_are_downloaded(got, tmp_path, monkeypatch, capsys, name):
    answer(monkeypatch, "y\n")
    assert model_file(name) == tmp_path / "clone" / "checkpoints" / f"{name}.pt"
    assert got == [
        ("dict.txt", "encoder.json", "vocab.bpe", "dataset/bpe"),
        ("model.yaml", "model.ckpt", "checkpoints/vqgan"),
        (f"{name}.pt", "checkpoints"),
    ]
    asked = capsys.readouterr().err
    assert all(word in asked for word in ("1.9 GB", "huggingface.co/JJJYmmm/RefHCM", "licence", "[y/N]"))


@pytest.mark.parametrize("typed", ["", "\n", "n\n", "what\n"])
def test_without_a_yes_nothing_is_downloaded(got, monkeypatch, typed):
    answer(monkeypatch, typed)
    with pytest.raises(UserError, match=r"run: refhcm download photos$"):
        load("refhcm")
    assert got == []


@pytest.mark.parametrize(("name", "command"), [("refhcm", "photos"), ("refhcm-tuned", "refhcm-tuned")])
def test_without_a_terminal_the_command_is_said(got, monkeypatch, name, command):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    with pytest.raises(
        UserError, match=rf"{name}.pt is not in .*1.9 GB to download\). Run: refhcm download {command}$"
    ):
        load(name)
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match=f"Run: refhcm download {command}$"):
        load(name)
    assert got == []


def test_offline_nobody_is_asked(got, monkeypatch):
    answer(monkeypatch, "y\n")
    monkeypatch.setenv("REFHCM_OFFLINE", "1")
    with pytest.raises(
        UserError, match=r"REFHCM_OFFLINE forbids the download\. Without it, run: refhcm download photos$"
    ):
        load("refhcm")
    assert got == []
    monkeypatch.setenv("REFHCM_OFFLINE", "0")
    model_file("refhcm")
    assert len(got) == 3
