"""`refhcm download dataset`: a choice of files, archives, hostile names and copies, from 127.0.0.1 alone."""

import io
import zipfile

import pytest
from commands import refhcm
from file_server import tree

from refhcm.apps.cli import download as command


def archive(**files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as packed:
        for name, text in files.items():
            packed.writestr(f"annos/{name}", text)
    return content.getvalue()


def test_the_dataset_is_chosen_and_unpacked(server, tmp_path, capsys):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {
        "README.md": b"card",
        ".gitattributes": b"",
        "rpar/half.tsv.part": b"",
        "rpar/half.tsv.part.etag": b"",
        "rpar/refcihp_val.tsv": b"row",
        "rpar/annos.zip": archive(picture="p"),
        "rkpt/rkpt_train.tsv": b"rows",
    }
    assert refhcm("download", "dataset", "--root", tmp_path, "--include", "rpar/*", "--include", "none/*") == 0
    found = tree(tmp_path / "dataset")
    assert sorted(found) == ["rpar/annos.zip", "rpar/annos/picture", "rpar/refcihp_val.tsv"]
    (tmp_path / "dataset" / "rpar" / "annos.zip").unlink()
    capsys.readouterr()
    assert refhcm("download", "dataset", "--root", tmp_path) == 0
    assert capsys.readouterr().out.count("already there") == 2
    assert sorted(tree(tmp_path / "dataset")) == ["rkpt/rkpt_train.tsv", "rpar/annos/picture", "rpar/refcihp_val.tsv"]


HOSTILE = [
    "../out.tsv",
    "/tmp/out.tsv",
    "rpar/../../out.tsv",
    "C:\\out.tsv",
    "..\\out.tsv",
    "a\x1b]0;x\x07.tsv",
    "a\nb",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_lead_outside_are_left_out_and_said(server, tmp_path, capsys, name):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {name: b"bad", "rpar/good.tsv": b"row"}
    assert refhcm("download", "dataset", "--root", tmp_path / "root") == 0
    assert tree(tmp_path) == {"root/dataset/rpar/good.tsv": b"row"}
    first, second = capsys.readouterr().out.splitlines()
    assert "left out" in first
    assert first.isprintable()
    assert second.endswith("good.tsv: 3 bytes")


def test_files_of_one_name_in_the_dataset(server, tmp_path, capsys):
    """They are told apart by their folders. The folder with an archive's name may hold other files."""
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = files = {
        "v.tsv": b"1",
        "rpar/v.tsv": b"2",
        "dataset/rpar/v.tsv": b"3",
        "old/rpar/v.tsv": b"4",
        "rpar.zip": archive(picture="p"),
    }
    (tmp_path / "dataset" / "old").mkdir(parents=True)
    assert refhcm("download", "dataset", "--root", tmp_path) == 0
    assert tree(tmp_path / "dataset") == files
    assert "rpar.zip: not unpacked" in capsys.readouterr().out
    (tmp_path / "dataset" / "rpar.zip").unlink()
    assert (
        refhcm("download", "dataset", "--root", tmp_path, "--include", "rpar.zip") == 0
    )  # rpar/v.tsv was not unpacked from it
    assert (tmp_path / "dataset" / "rpar.zip").is_file()


def test_an_empty_folder_is_nothing_unpacked(server, tmp_path):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {"annos.zip": archive(picture="p")}
    (tmp_path / "dataset" / "annos").mkdir(parents=True)
    assert refhcm("download", "dataset", "--root", tmp_path) == 0
    assert (tmp_path / "dataset" / "annos" / "picture").is_file()


def test_space_is_needed_for_the_rest_of_a_file_only(server, tmp_path, monkeypatch):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {"rec/x.tsv": b"0123456789"}
    (tmp_path / "dataset" / "rec").mkdir(parents=True)
    (tmp_path / "dataset" / "rec" / "x.tsv.part").write_bytes(b"01234567")
    asked = []
    monkeypatch.setattr(command, "require_space", lambda folder, size: asked.append(size))
    refhcm("download", "dataset", "--root", tmp_path)
    assert asked == [2]


def test_the_dataset_from_a_copy(tmp_path):
    (tmp_path / "copy" / "dataset" / "rec").mkdir(parents=True)
    (tmp_path / "copy" / "dataset" / "rec" / "refcoco_train.tsv").write_bytes(b"rows")
    (tmp_path / "copy" / "dataset" / "README.md").touch()
    (tmp_path / "copy" / "dataset" / "rec" / "half.tsv.part").touch()
    assert refhcm("download", "dataset", "--root", tmp_path / "new", "--from", tmp_path / "copy") == 0
    assert tree(tmp_path / "new") == {"dataset/rec/refcoco_train.tsv": b"rows"}
