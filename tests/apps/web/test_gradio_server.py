"""The page as a server: programs ask through gradio's client, many at once, and send rubbish."""

import random
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from web_page import PATIENCE, Server, broken_pictures, encoded

gradio_client = pytest.importorskip("gradio_client", reason="the page needs the `demo` extra")
pytest.importorskip("gradio")

from refhcm.data.pictures import MAX_BYTES  # noqa: E402
from refhcm.inference.loading import load  # noqa: E402

MANY = 50
ALLOWED = 1.1  # memory afterwards / memory before


@pytest.fixture(scope="module")
def options(golden, golden_checkpoint, bpe_dir):
    return {"tokenizer": golden / "vqgan", "bpe_dir": bpe_dir, "device": "cpu"}, golden_checkpoint("multitask")


@pytest.fixture(scope="module")
def server(options, tmp_path_factory):
    named, checkpoint = options
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
    server = Server(f"--checkpoint={checkpoint}", *flags, log=tmp_path_factory.mktemp("page") / "log.txt")
    yield server
    assert server.stop() == 0
    assert not list(server.temporary.iterdir())
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def picture(tmp_path):
    """`picture(seed)`: a picture file; size and content depend on the seed."""

    def save(seed):
        path = tmp_path / f"picture_{seed}.png"
        path.write_bytes(encoded((100 + 7 * seed, 90 + 5 * seed), seed=seed))
        return path

    return save


def questions(picture):
    """A mix of (endpoint, its arguments, the same question as a function of a model)."""
    person = ["a man", "the woman in red", "kid with a hat", "who is running?"]
    asked = []
    for k in range(MANY):
        path, words = picture(k % 5), person[k % 4]
        file, box = gradio_client.handle_file(str(path)), [k, 10, 60 + k % 30, 80]
        forms = [
            ("/refer", [file, words], lambda m, p=path, w=words: m.refer(p, w)),
            ("/refer", [file, words, True], lambda m, p=path, w=words: m.refer(p, w, keypoints=True)),
            ("/refer", [file, words, False, True, True],
             lambda m, p=path, w=words: m.refer(p, w, parsing=True, parallel=True)),
            ("/describe", [file, ", ".join(map(str, box))], lambda m, p=path, b=box: m.describe(p, b)),
            ("/chain", [file, words, True, False], lambda m, p=path, w=words: m.chain(p, w, keypoints=True)),
            ("/instruct", [file, f"where is {words}"], lambda m, p=path, w=words: m.instruct(p, f"where is {w}")),
        ]  # fmt: skip
        asked.append(forms[k % len(forms)])
    random.Random(0).shuffle(asked)
    return asked


def test_each_endpoint_answers_as_python_does(client, options, picture):
    named, checkpoint = options
    model, asked = load(checkpoint, **named), {}
    for endpoint, given, in_python in questions(picture):
        asked.setdefault((endpoint, len(given)), (endpoint, given, in_python))
    assert len(asked) == 6
    for endpoint, given, in_python in asked.values():
        assert client.predict(*given, api_name=endpoint) == in_python(model).to_dict()


@pytest.mark.slow
def test_many_at_once_are_answered_as_if_alone(client, options, picture):
    named, checkpoint = options
    asked, model = questions(picture), load(checkpoint, **named)
    with ThreadPoolExecutor(MANY) as pool:
        jobs = [pool.submit(client.predict, *given, api_name=endpoint) for endpoint, given, _ in asked]
        answers = [job.result(PATIENCE * 4) for job in jobs]
    assert answers == [in_python(model).to_dict() for _, _, in_python in asked]


ELSEWHERE = {"path": "http://203.0.113.9/x.jpg", "meta": {"_type": "gradio.FileData"}}
MISTAKES = [
    ("/refer", {"expression": ""}, "expression: is empty"),
    ("/refer", {"expression": 7}, "expression: needs text, got int"),
    ("/refer", {"expression": ["a man"]}, "expression: needs text, got list"),
    ("/refer", {"expression": "word " * 10_000}, "needs 10000 or fewer"),
    ("/refer", {"image": None}, "image: no picture yet"),
    ("/refer", {"image": 3}, "image: needs an uploaded picture"),
    ("/refer", {"image": "/etc/passwd"}, "image: needs an uploaded picture, got the path of another file"),
    ("/refer", {"image": {"path": "/etc/passwd"}}, "image: needs an uploaded picture, got the path of another file"),
    ("/refer", {"image": ELSEWHERE}, "got an address"),
    ("/refer", {"expression": ELSEWHERE}, "got an address"),
    ("/refer", {"parallel": ELSEWHERE}, "got an address"),
    ("/describe", {"box": ELSEWHERE}, "got an address"),
    ("/chain", {"beam": ELSEWHERE}, "got an address"),
    ("/instruct", {"instruction": ELSEWHERE}, "got an address"),
    ("/refer", {"keypoints": "often"}, "keypoints: needs true or false"),
    ("/describe", {"box": "nan, 0, nan, 3"}, "box: needs 4 finite numbers"),
    ("/describe", {"box": [1, 2]}, "box: needs 4 finite numbers"),
    ("/describe", {"box": [[1, 2, 3, 4]]}, "box: needs 4 finite numbers"),
    ("/describe", {"box": "900, 900, 990, 990"}, "wholly outside"),
    ("/chain", {"text": "..."}, "text: needs some words"),
    ("/chain", {"beam": 1000}, "beam: needs a whole number from 1 to 20"),
    ("/chain", {"temperature": "hot"}, "temperature: needs a number"),
    ("/instruct", {"instruction": " "}, "instruction: is empty"),
    (
        "/instruct",
        {"instruction": "<bin_1000>"},
        "this model has no symbol <bin_1000>: its bins are <bin_0> to <bin_999>",
    ),
    ("/instruct", {"instruction": "a", "min_len": -1}, "min_len: needs a whole number"),
]


@pytest.mark.parametrize(("endpoint", "given", "sentence"), MISTAKES)
def test_a_mistake_is_a_sentence(endpoint, given, sentence, client, picture):
    with pytest.raises(gradio_client.exceptions.AppError) as error:
        client.predict(**complete(endpoint, given, picture(1)), api_name=endpoint)
    assert sentence in str(error.value)


def complete(endpoint, given, path):
    """All arguments of an endpoint: the given ones, and defaults for the rest."""
    default = {"/refer": {"expression": "a man"}, "/describe": {"box": "1, 2, 30, 40"}, "/chain": {"text": "a man"}}
    filled = {"image": gradio_client.handle_file(str(path))} | default.get(endpoint, {"instruction": "a man"})
    return filled | given


def test_the_server_refuses_a_file_that_is_too_large(server, tmp_path):
    """The upload itself is refused, before anything is opened."""
    edge = b"edge"
    body = b'--edge\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body += bytes(MAX_BYTES + 1) + b"\r\n--edge--\r\n"
    kind = {"Content-Type": f"multipart/form-data; boundary={edge.decode()}"}
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(f"{server.url}/gradio_api/upload", body, kind), timeout=PATIENCE)
    with error.value as answer:
        assert answer.code == 413
        assert b"exceeded" in answer.read()
    assert server.answers()


@pytest.mark.slow
def test_rubbish_leaves_the_server_as_it_was(server, client, picture, tmp_path):
    good = {"expression": "a man", "image": gradio_client.handle_file(str(picture(2)))}
    before = client.predict(**good, api_name="/refer")
    for _ in range(10):  # allocate all that is allocated once
        client.predict(**good, api_name="/refer")
    rounds, memory = 7, server.memory()
    for round_ in range(rounds):
        for name, data in broken_pictures().items():
            path = tmp_path / f"{round_}_{name}"
            path.write_bytes(data)
            with pytest.raises(gradio_client.exceptions.AppError, match="image: "):
                client.predict(**good | {"image": gradio_client.handle_file(str(path))}, api_name="/refer")
        for endpoint, given, sentence in MISTAKES:
            with pytest.raises(gradio_client.exceptions.AppError) as error:
                client.predict(**complete(endpoint, given, picture(1)), api_name=endpoint)
            assert sentence in str(error.value)
    assert rounds * (len(broken_pictures()) + len(MISTAKES)) >= 200
    assert client.predict(**good, api_name="/refer") == before
    time.sleep(1)
    assert server.memory() < ALLOWED * memory, np.array([server.memory(), memory]) / 2**20
