"""`refhcm download` from local servers and folders; nothing here leaves 127.0.0.1."""

import hashlib
import io
import logging
import socket
import zipfile

import pytest
from file_server import serving
from scripts import ROOT

from refhcm.apps.cli import download as command
from refhcm.apps.cli import main as cli
from refhcm.utils.download import fetch, published, sources
from refhcm.utils.files import no_such_file

WEIGHTS = b"PK weights " * 1000


@pytest.fixture
def server(monkeypatch, caplog):
    caplog.set_level(logging.WARNING)  # fairseq's import in an earlier test lets requests be logged
    monkeypatch.setattr(fetch, "PAUSE_S", 0)
    monkeypatch.setenv("no_proxy", "*")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/")
        yield server


@pytest.fixture
def words(monkeypatch):
    """A vocabulary of three small files with a known sha256."""
    files = {name: f"the content of {name}".encode() for name in sources.SHA256}
    known = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(published, "SHA256", known)
    monkeypatch.setattr(sources, "SHA256", known)
    return files


def run(*arguments):
    return cli.main(["download", *map(str, arguments)])


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def failed(capsys):
    """The one line of an error."""
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message


def test_the_real_vocabulary_has_the_known_digests(bpe_dir, tmp_path, capsys):
    assert run("vocabulary", "--root", tmp_path, "--from", bpe_dir) == 0
    assert sorted(tree(tmp_path)) == [f"dataset/bpe/{name}" for name in ("dict.txt", "encoder.json", "vocab.bpe")]
    assert capsys.readouterr().out.splitlines()[0].endswith("dict.txt: 603.3 KB")


def test_published_addresses():
    """What is not on the hub has an address, and every file goes where docs/data.md says."""
    assert {name for name, source in sources.SOURCES.items() if source.url} == {"vocabulary", "ofa-large"}
    assert all(bool(source.url) != bool(source.repo) for source in sources.SOURCES.values())
    _, (words, *_) = published.origin(published.Place(), sources.SOURCES["vocabulary"])
    _, (large,) = published.origin(published.Place(), sources.SOURCES["ofa-large"])
    assert words.origin == "https://dl.fbaipublicfiles.com/fairseq/gpt2_bpe/dict.txt"
    assert large.origin == "https://ofa-beijing.oss-cn-beijing.aliyuncs.com/checkpoints/ofa_large.pt"
    named = " ".join((ROOT / "docs/data.md").read_text(encoding="utf-8").split())
    assert "dataset/bpe/{dict.txt,encoder.json,vocab.bpe}" in named
    assert "checkpoints/ofa_large.pt, refhcm.pt, refhcm-tuned.pt, vqgan/{model.yaml,model.ckpt}" in named
    documented = {f"{source.folder}/{name}" for source in sources.SOURCES.values() for name in source.files}
    assert documented == {
        *(f"dataset/bpe/{name}" for name in ("dict.txt", "encoder.json", "vocab.bpe")),
        *(f"checkpoints/{name}" for name in ("ofa_large.pt", "refhcm.pt", "refhcm-tuned.pt")),
        *(f"checkpoints/vqgan/{name}" for name in ("model.yaml", "model.ckpt")),
    }


def test_vocabulary_from_an_address(server, words, tmp_path, capsys):
    server.files.update({f"deep/{name}": content for name, content in words.items()})
    assert run("vocabulary", "--root", tmp_path, "--from", f"{server.url}/deep/") == 0
    assert tree(tmp_path / "dataset" / "bpe") == words
    asked = len(server.requests)
    assert run("vocabulary", "--root", tmp_path, "--from", f"{server.url}/deep/") == 0
    assert len(server.requests) == asked
    assert capsys.readouterr().out.count("already there") == 3


def test_a_hub_that_never_answers_is_given_up(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("refhcm.utils.download.sources.TIMEOUT_S", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert run("refhcm", "--root", tmp_path) == 2
    assert "cannot be listed on" in failed(capsys)


def test_a_changed_vocabulary_is_refused(server, words, tmp_path, capsys):
    server.files.update({**words, "encoder.json": b"changed on the way"})
    assert run("vocabulary", "--out", tmp_path, "--from", server.url) == 2
    assert "encoder.json: has sha256" in failed(capsys)
    assert tree(tmp_path) == {"dict.txt": words["dict.txt"]}


def test_a_file_of_the_users_own_is_not_replaced(words, tmp_path, capsys):
    (tmp_path / "dict.txt").write_text("mine")
    assert run("vocabulary", "--out", tmp_path, "--from", tmp_path) == 2
    assert "differs from the published file" in failed(capsys)
    assert (tmp_path / "dict.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["dataset/bpe", "bpe", "."])
def test_a_copy_may_be_any_part_of_the_tree(words, tmp_path, place):
    (tmp_path / "copy" / place).mkdir(parents=True)
    for name, content in words.items():
        (tmp_path / "copy" / place / name).write_bytes(content)
    assert run("vocabulary", "--root", tmp_path / "new", "--from", tmp_path / "copy") == 0
    assert tree(tmp_path / "new" / "dataset" / "bpe") == words


def test_what_a_copy_lacks(words, tmp_path, capsys):
    assert run("tokenizer", "--out", tmp_path / "new", "--from", tmp_path) == 2
    assert "holds no model.yaml; it holds nothing" in failed(capsys)
    assert run("dataset", "--out", tmp_path / "new", "--from", tmp_path / "none") == 2
    assert "no such folder" in failed(capsys)
    assert run("dataset", "--out", tmp_path / "new", "--from", tmp_path) == 2
    assert "holds no data" in failed(capsys)


def test_weights_from_the_hub(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"weights/refhcm.pt": WEIGHTS, "README.md": b"card"}
    assert run("refhcm", "--root", tmp_path) == 0
    assert tree(tmp_path) == {"checkpoints/refhcm.pt": WEIGHTS}
    asked = len(server.requests)
    assert run("refhcm", "--root", tmp_path) == 0
    assert len(server.requests) == asked
    assert run("refhcm-tuned", "--root", tmp_path) == 2
    assert "JJJYmmm/RefHCM: holds no refhcm-tuned.pt; it holds README.md, weights/refhcm.pt" in failed(capsys)


def test_another_repository_and_revision(server, tmp_path, capsys):
    server.hub["models/me/tokenizers"] = {"vqgan/model.yaml": b"yaml", "vqgan/model.ckpt": WEIGHTS}
    assert run("tokenizer", "--root", tmp_path, "--repo", "me/tokenizers", "--revision", "main") == 0
    assert tree(tmp_path / "checkpoints" / "vqgan") == {"model.yaml": b"yaml", "model.ckpt": WEIGHTS}
    assert run("ofa-large", "--root", tmp_path, "--revision", "main") == 2
    assert "--revision: needs a repository" in failed(capsys)
    assert run("refhcm", "--root", tmp_path, "--repo", "me/none") == 2
    assert "me/none: the hub has no such model" in failed(capsys)
    assert run("refhcm", "--root", tmp_path, "--repo", "not a name") == 2
    assert "not a name: not the name of a repository, expected OWNER/NAME" in failed(capsys)


def test_two_files_of_one_name(server, tmp_path, capsys):
    server.hub["models/a/b"] = {"x/refhcm.pt": b"1", "y/refhcm.pt": b"2"}
    assert run("refhcm", "--root", tmp_path, "--repo", "a/b") == 2
    assert "holds refhcm.pt more than once: x/refhcm.pt, y/refhcm.pt" in failed(capsys)


def test_the_hubs_digest_is_checked(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"refhcm.pt": WEIGHTS}
    server.wrong_hub_digest = True
    assert run("refhcm", "--root", tmp_path) == 2
    assert f"refhcm.pt: has sha256 {hashlib.sha256(WEIGHTS).hexdigest()}, expected 000" in failed(capsys)
    assert not (tmp_path / "checkpoints" / "refhcm.pt").exists()


def test_a_stopped_download_goes_on(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"refhcm.pt": WEIGHTS}
    server.break_after = 1000
    assert run("refhcm", "--root", tmp_path) == 2
    assert "run the same command again to resume" in failed(capsys)
    assert not (tmp_path / "checkpoints" / "refhcm.pt").exists()
    server.break_after = None
    assert run("refhcm", "--root", tmp_path) == 0
    assert server.requests[-1] == ("JJJYmmm/RefHCM/resolve/main/refhcm.pt", "bytes=4000-")
    assert tree(tmp_path) == {"checkpoints/refhcm.pt": WEIGHTS}


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
    assert run("dataset", "--root", tmp_path, "--include", "rpar/*", "--include", "none/*") == 0
    found = tree(tmp_path / "dataset")
    assert sorted(found) == ["rpar/annos.zip", "rpar/annos/picture", "rpar/refcihp_val.tsv"]
    (tmp_path / "dataset" / "rpar" / "annos.zip").unlink()
    capsys.readouterr()
    assert run("dataset", "--root", tmp_path) == 0
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
    assert run("dataset", "--root", tmp_path / "root") == 0
    assert tree(tmp_path) == {"root/dataset/rpar/good.tsv": b"row"}
    first, second = capsys.readouterr().out.splitlines()
    assert "left out" in first
    assert first.isprintable()
    assert second.endswith("good.tsv: 3 bytes")


def test_escape_codes_do_not_reach_the_terminal(server, tmp_path, capsys):
    server.hub["models/a/b"] = {"\x1b[2Jx\u202e\r\nerror: y": b"1"}
    assert run("refhcm", "--root", tmp_path, "--repo", "a/b") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.endswith(r"holds no refhcm.pt; it holds \x1b[2Jx\u202e error: y")
    server.answers["dict.txt"] = 404, {"Content-Type": "text/\x1b[2J"}, []
    assert run("vocabulary", "--root", tmp_path, "--from", f"{server.url}/\x1b[2J") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.isprintable()


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
    assert run("dataset", "--root", tmp_path) == 0
    assert tree(tmp_path / "dataset") == files
    assert "rpar.zip: not unpacked" in capsys.readouterr().out
    (tmp_path / "dataset" / "rpar.zip").unlink()
    assert run("dataset", "--root", tmp_path, "--include", "rpar.zip") == 0  # rpar/v.tsv was not unpacked from it
    assert (tmp_path / "dataset" / "rpar.zip").is_file()


def test_an_empty_folder_is_nothing_unpacked(server, tmp_path):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {"annos.zip": archive(picture="p")}
    (tmp_path / "dataset" / "annos").mkdir(parents=True)
    assert run("dataset", "--root", tmp_path) == 0
    assert (tmp_path / "dataset" / "annos" / "picture").is_file()


def test_space_is_needed_for_the_rest_of_a_file_only(server, tmp_path, monkeypatch):
    server.hub["datasets/JJJYmmm/RefHCM-dataset"] = {"rec/x.tsv": b"0123456789"}
    (tmp_path / "dataset" / "rec").mkdir(parents=True)
    (tmp_path / "dataset" / "rec" / "x.tsv.part").write_bytes(b"01234567")
    asked = []
    monkeypatch.setattr(command, "require_space", lambda folder, size: asked.append(size))
    run("dataset", "--root", tmp_path)
    assert asked == [2]


def test_the_dataset_from_a_copy(tmp_path):
    (tmp_path / "copy" / "dataset" / "rec").mkdir(parents=True)
    (tmp_path / "copy" / "dataset" / "rec" / "refcoco_train.tsv").write_bytes(b"rows")
    (tmp_path / "copy" / "dataset" / "README.md").touch()
    (tmp_path / "copy" / "dataset" / "rec" / "half.tsv.part").touch()
    assert run("dataset", "--root", tmp_path / "new", "--from", tmp_path / "copy") == 0
    assert tree(tmp_path / "new") == {"dataset/rec/refcoco_train.tsv": b"rows"}


def test_what_does_not_go_together(server, tmp_path, capsys):
    assert run("refhcm", "--root", tmp_path, "--include", "*") == 2
    assert "--include: only works with dataset" in failed(capsys)
    assert run("dataset", "--root", tmp_path, "--from", server.url) == 2
    assert "an address cannot be listed" in failed(capsys)
    with pytest.raises(SystemExit, match="2"):
        run("everything")
    with pytest.raises(SystemExit, match="2"):
        run("refhcm", "--from", tmp_path, "--repo", "a/b")


def test_no_network(server, tmp_path, capsys):
    server.server_close()
    assert run("refhcm", "--root", tmp_path) == 2
    assert "JJJYmmm/RefHCM: cannot be listed on http://127.0.0.1" in failed(capsys)
    assert run("vocabulary", "--root", tmp_path, "--from", server.url) == 2
    assert "dict.txt: no connection" in failed(capsys)


def test_a_missing_file_names_the_command_that_gets_it():
    for name, source in sources.SOURCES.items():
        for file in source.files or ("rkpt/refcoco_pose_testA.tsv",):
            path = f"/clone/{source.folder}/{file}"
            assert no_such_file(path) == f"{path}: no such file. Run: refhcm download {name}"
    for path in ("runs/vqgan/model.ckpt", "mydataset/a.tsv", "checkpoints/refhcm.pt.old"):
        assert no_such_file(path) == f"{path}: no such file"


@pytest.mark.parametrize(
    ("option", "folders"),
    [("--root", ("dataset/bpe", "checkpoints/vqgan", "checkpoints")), ("--out", ("bpe", "vqgan", ""))],
)
def test_photos_brings_all_three_parts(words, tmp_path, option, folders):
    copy = tmp_path / "copy"
    files = words | {"model.yaml": b"a: 1", "model.ckpt": WEIGHTS, "refhcm.pt": WEIGHTS}
    for name, content in files.items():
        copy.mkdir(exist_ok=True)
        (copy / name).write_bytes(content)
    assert run("photos", "--from", copy, option, tmp_path / "to") == 0
    bpe, vqgan, weights = (f"{folder}/" if folder else "" for folder in folders)
    expected = {f"{bpe}{name}": words[name] for name in words}
    expected |= {f"{vqgan}{name}": files[name] for name in ("model.yaml", "model.ckpt")}
    assert tree(tmp_path / "to") == expected | {f"{weights}refhcm.pt": WEIGHTS}
