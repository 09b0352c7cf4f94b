"""The command `refhcm`: quick to say what it can do, and one line for each mistake."""

import argparse
import subprocess
import sys

import pytest

from refhcm.apps.cli import main as cli


@pytest.mark.parametrize("arguments", [["--help"], ["download", "--help"], ["ask", "--help"], ["download", "nothing"]])
def test_help_needs_no_torch(tmp_path, arguments):
    code = "import sys; sys.modules['torch'] = None; from refhcm.apps.cli.main import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert "Traceback" not in done.stderr
    assert "usage: refhcm" in done.stdout + done.stderr
    assert done.returncode == (0 if "--help" in arguments else 2)


def test_without_a_command_it_says_what_there_is(capsys):
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert all(f"\n  {name} " in err for name in cli.COMMANDS)


def test_the_package_is_the_command(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "refhcm", "--help"], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=True
    )
    assert all(f"{name} " in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_its_help(command, capsys):
    if command == "train" and sys.version_info[:2] > cli.LAST_OF_FAIRSEQ:
        pytest.skip("fairseq does not run on this Python")
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    out = capsys.readouterr().out
    assert f"usage: refhcm {command}" in out
    assert cli.COMMANDS[command]


def flags(parser, name):
    """(command, what it says of itself, its flags) of a command and its sub-commands."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    yield name, parser.description, [action for action in parser._actions if action not in inner]
    for action in inner:
        for word, one in action.choices.items():
            yield from flags(one, f"{name} {word}")


@pytest.mark.parametrize("command", sorted(cli.COMMANDS.keys() - {"train"}))
def test_every_flag_is_a_sentence_and_every_command_has_an_example(command):
    (commands,) = (action for action in cli.make_parser([command])._actions if action.dest == "command")
    for name, description, actions in flags(commands.choices[command], command):
        assert f"refhcm {name} " in description
        for action in actions:
            if "--help" not in action.option_strings:
                assert action.help, (name, action.dest)
                assert action.help[0].isupper(), (name, action.help)
                assert action.help.endswith("."), (name, action.help)


def test_the_help_of_training_begins_with_what_is_ours(capsys):
    pytest.importorskip("fairseq")
    with pytest.raises(SystemExit, match="0"):
        cli.main(["train", "--help"])
    out = capsys.readouterr().out
    first = [
        out.index(text) for text in ("--task TASK", "--bpe-dir", "--encoder-layers", "--warmup-ratio", "fairseq: ")
    ]
    assert first == sorted(first)
    assert out.index("--save-dir SAVE_DIR") > first[-1]


@pytest.mark.parametrize("arguments", [["fly"], ["info"], ["info", "a", "--no-such-flag"]])
def test_usage(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    assert "usage: refhcm" in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path, capsys):
    assert cli.main(["info", str(tmp_path / "none.pt")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'none.pt'}: no such file\n"


@pytest.mark.parametrize("command", ["info", "train"])
def test_interrupted_while_it_imports(command, monkeypatch, capsys):
    def slow(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_module", slow)
    monkeypatch.setattr(sys, "argv", ["refhcm"])
    assert cli.main([command]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_interrupted(tmp_path, monkeypatch, capsys):
    from refhcm.apps.cli import info

    def interrupt(args):
        raise KeyboardInterrupt

    monkeypatch.setattr(info, "run", interrupt)
    assert cli.main(["info", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_whoever_reads_may_stop(bpe_dir, tmp_path):
    command = [sys.executable, "-m", "refhcm", "download", "vocabulary", "--out", tmp_path, "--from", bpe_dir]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert b"rror" not in process.stderr.read()
        assert process.wait(timeout=60) == 1


def test_training_on_a_newer_python_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(cli, "LAST_OF_FAIRSEQ", (3, 10))
    assert cli.main(["train", "a.tsv"]) == 2
    here = f"3.{sys.version_info[1]}"
    said = f"error: training needs fairseq, which does not run on Python {here}. Use Python 3.11 to 3.10\n"
    assert capsys.readouterr().err == said


@pytest.mark.skipif(sys.version_info[:2] > cli.LAST_OF_FAIRSEQ, reason="fairseq does not run on this Python")
def test_training_without_fairseq_is_one_line(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "refhcm.training.command", raising=False)
    monkeypatch.setitem(sys.modules, "fairseq", None)
    assert cli.main(["train", "a.tsv"]) == 2
    assert capsys.readouterr().err == (
        "error: training needs fairseq (no module fairseq). Run: pip install -r requirements.txt\n"
    )
