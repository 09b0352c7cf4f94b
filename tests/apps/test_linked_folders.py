"""Links to folders are followed wherever a folder is searched; `refhcm ask` is tried in its own tests."""

import pytest

from refhcm.apps.cli import main as cli
from refhcm.apps.comfyui import host
from refhcm.utils.download.sources import in_folder
from refhcm.utils.files import files_below


@pytest.fixture
def tree(tmp_path):
    """A folder with a file, a link to a folder beside it, and loops."""
    for name in ("tree/own/a.pt", "beside/b.pt", "beside/deep/c.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "tree" / "linked").symlink_to("../beside")
    (tmp_path / "tree" / "own" / "up").symlink_to("..")
    (tmp_path / "beside" / "deep" / "loop").symlink_to(tmp_path / "beside")
    (tmp_path / "beside" / "gone").symlink_to("nowhere")
    return tmp_path / "tree"


FOUND = ["linked/b.pt", "linked/deep/c.pt", "own/a.pt"]


def test_files_below(tree, tmp_path):
    assert sorted(path.relative_to(tree).as_posix() for path in files_below(tree)) == FOUND
    (tmp_path / "entry").symlink_to(tree)
    assert len(list(files_below(tmp_path / "entry"))) == 3
    (tree / "again").symlink_to("linked")  # another name of the same folder is no loop
    assert len(list(files_below(tree))) == 5
    assert list(files_below(tmp_path / "none")) == []


def test_weights_for_comfyui(tree, monkeypatch):
    monkeypatch.setattr(host, "folders", lambda: [tree])
    assert sorted(host.weights()) == FOUND


def test_a_copy_of_the_dataset_with_links(tree, tmp_path):
    assert [file.path for file in in_folder(tree)] == FOUND
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "dataset").symlink_to(tree)
    arguments = ["download", "dataset", "--from", str(tmp_path / "copy"), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, "--include", "linked/*"]) == 0
    assert (tmp_path / "out" / "linked" / "deep" / "c.pt").read_text() == "beside/deep/c.pt"
