"""`refhcm download` from local servers and folders; nothing here leaves 127.0.0.1."""

import hashlib
import socket

import pytest
from commands import refhcm
from file_server import tree
from scripts import ROOT

from refhcm.utils.download import published, sources
from refhcm.utils.files import no_such_file

WEIGHTS = b"PK weights " * 1000


@pytest.fixture
def words(monkeypatch):
    """A vocabulary of three small files with a known sha256."""
    files = {name: f"the content of {name}".encode() for name in sources.SHA256}
    known = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(published, "SHA256", known)
    monkeypatch.setattr(sources, "SHA256", known)
    return files


def failed(capsys):
    """The one line of an error."""
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message


def test_the_real_vocabulary_has_the_known_digests(bpe_dir, tmp_path, capsys):
    assert refhcm("download", "vocabulary", "--root", tmp_path, "--from", bpe_dir) == 0
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
    assert refhcm("download", "vocabulary", "--root", tmp_path, "--from", f"{server.url}/deep/") == 0
    assert tree(tmp_path / "dataset" / "bpe") == words
    asked = len(server.requests)
    assert refhcm("download", "vocabulary", "--root", tmp_path, "--from", f"{server.url}/deep/") == 0
    assert len(server.requests) == asked
    assert capsys.readouterr().out.count("already there") == 3


def test_a_hub_that_never_answers_is_given_up(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("refhcm.utils.download.sources.TIMEOUT_S", 0.2)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert refhcm("download", "refhcm", "--root", tmp_path) == 2
    assert " failed (" in failed(capsys)


def test_a_changed_vocabulary_is_refused(server, words, tmp_path, capsys):
    server.files.update({**words, "encoder.json": b"changed on the way"})
    assert refhcm("download", "vocabulary", "--out", tmp_path, "--from", server.url) == 2
    assert "encoder.json: has sha256" in failed(capsys)
    assert tree(tmp_path) == {"dict.txt": words["dict.txt"]}


def test_a_file_of_the_users_own_is_not_replaced(words, tmp_path, capsys):
    (tmp_path / "dict.txt").write_text("mine")
    assert refhcm("download", "vocabulary", "--out", tmp_path, "--from", tmp_path) == 2
    assert "differs from the published file" in failed(capsys)
    assert (tmp_path / "dict.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["dataset/bpe", "bpe", "."])
def test_a_copy_may_be_any_part_of_the_tree(words, tmp_path, place):
    (tmp_path / "copy" / place).mkdir(parents=True)
    for name, content in words.items():
        (tmp_path / "copy" / place / name).write_bytes(content)
    assert refhcm("download", "vocabulary", "--root", tmp_path / "new", "--from", tmp_path / "copy") == 0
    assert tree(tmp_path / "new" / "dataset" / "bpe") == words


def test_what_a_copy_lacks(words, tmp_path, capsys):
    assert refhcm("download", "tokenizer", "--out", tmp_path / "new", "--from", tmp_path) == 2
    assert "holds no model.yaml; it holds nothing" in failed(capsys)
    assert refhcm("download", "dataset", "--out", tmp_path / "new", "--from", tmp_path / "none") == 2
    assert "no such folder" in failed(capsys)
    assert refhcm("download", "dataset", "--out", tmp_path / "new", "--from", tmp_path) == 2
    assert "holds no data" in failed(capsys)


def test_weights_from_the_hub(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"weights/refhcm.pt": WEIGHTS, "README.md": b"card"}
    assert refhcm("download", "refhcm", "--root", tmp_path) == 0
    assert tree(tmp_path) == {"checkpoints/refhcm.pt": WEIGHTS}
    asked = len(server.requests)
    assert refhcm("download", "refhcm", "--root", tmp_path) == 0
    assert len(server.requests) == asked
    assert refhcm("download", "refhcm-tuned", "--root", tmp_path) == 2
    assert "JJJYmmm/RefHCM: holds no refhcm-tuned.pt; it holds README.md, weights/refhcm.pt" in failed(capsys)


def test_another_repository_and_revision(server, tmp_path, capsys):
    server.hub["models/me/tokenizers"] = {"vqgan/model.yaml": b"yaml", "vqgan/model.ckpt": WEIGHTS}
    assert refhcm("download", "tokenizer", "--root", tmp_path, "--repo", "me/tokenizers", "--revision", "main") == 0
    assert tree(tmp_path / "checkpoints" / "vqgan") == {"model.yaml": b"yaml", "model.ckpt": WEIGHTS}
    assert refhcm("download", "ofa-large", "--root", tmp_path, "--revision", "main") == 2
    assert "--revision: needs a repository" in failed(capsys)
    assert refhcm("download", "refhcm", "--root", tmp_path, "--repo", "me/none") == 2
    assert "me/none: the hub has no such model" in failed(capsys)
    assert refhcm("download", "refhcm", "--root", tmp_path, "--repo", "not a name") == 2
    assert "not a name: not the name of a repository, expected OWNER/NAME" in failed(capsys)


def test_two_files_of_one_name(server, tmp_path, capsys):
    server.hub["models/a/b"] = {"x/refhcm.pt": b"1", "y/refhcm.pt": b"2"}
    assert refhcm("download", "refhcm", "--root", tmp_path, "--repo", "a/b") == 2
    assert "holds refhcm.pt more than once: x/refhcm.pt, y/refhcm.pt" in failed(capsys)


def test_the_hubs_digest_is_checked(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"refhcm.pt": WEIGHTS}
    server.wrong_hub_digest = True
    assert refhcm("download", "refhcm", "--root", tmp_path) == 2
    assert f"refhcm.pt: has sha256 {hashlib.sha256(WEIGHTS).hexdigest()}, expected 000" in failed(capsys)
    assert not (tmp_path / "checkpoints" / "refhcm.pt").exists()


def test_a_stopped_download_goes_on(server, tmp_path, capsys):
    server.hub["models/JJJYmmm/RefHCM"] = {"refhcm.pt": WEIGHTS}
    server.break_after = 1000
    assert refhcm("download", "refhcm", "--root", tmp_path) == 2
    assert "run the same command again to resume" in failed(capsys)
    assert not (tmp_path / "checkpoints" / "refhcm.pt").exists()
    server.break_after = None
    assert refhcm("download", "refhcm", "--root", tmp_path) == 0
    assert server.requests[-1] == ("JJJYmmm/RefHCM/resolve/main/refhcm.pt", "bytes=4000-")
    assert tree(tmp_path) == {"checkpoints/refhcm.pt": WEIGHTS}


def test_escape_codes_do_not_reach_the_terminal(server, tmp_path, capsys):
    server.hub["models/a/b"] = {"\x1b[2Jx\u202e\r\nerror: y": b"1"}
    assert refhcm("download", "refhcm", "--root", tmp_path, "--repo", "a/b") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.endswith(r"holds no refhcm.pt; it holds \x1b[2Jx\u202e error: y")
    server.answers["dict.txt"] = 404, {"Content-Type": "text/\x1b[2J"}, []
    assert refhcm("download", "vocabulary", "--root", tmp_path, "--from", f"{server.url}/\x1b[2J") == 2
    (message,) = capsys.readouterr().err.splitlines()
    assert message.isprintable()


def test_what_does_not_go_together(server, tmp_path, capsys):
    assert refhcm("download", "refhcm", "--root", tmp_path, "--include", "*") == 2
    assert "--include: only works with dataset" in failed(capsys)
    assert refhcm("download", "dataset", "--root", tmp_path, "--from", server.url) == 2
    assert "an address cannot be listed" in failed(capsys)
    with pytest.raises(SystemExit, match="2"):
        refhcm("download", "everything")
    with pytest.raises(SystemExit, match="2"):
        refhcm("download", "refhcm", "--from", tmp_path, "--repo", "a/b")


def test_no_network(server, tmp_path, capsys):
    server.server_close()
    assert refhcm("download", "refhcm", "--root", tmp_path) == 2
    assert "JJJYmmm/RefHCM: the request to http://127.0.0.1" in failed(capsys)
    assert refhcm("download", "vocabulary", "--root", tmp_path, "--from", server.url) == 2
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
    assert refhcm("download", "photos", "--from", copy, option, tmp_path / "to") == 0
    bpe, vqgan, weights = (f"{folder}/" if folder else "" for folder in folders)
    expected = {f"{bpe}{name}": words[name] for name in words}
    expected |= {f"{vqgan}{name}": files[name] for name in ("model.yaml", "model.ckpt")}
    assert tree(tmp_path / "to") == expected | {f"{weights}refhcm.pt": WEIGHTS}
