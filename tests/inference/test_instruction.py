"""Several tasks in one instruction: its text, and what a model left out, induced from forced starts."""

import pytest
from written import BOX, CODES, SETTINGS, Painter, written

from refhcm.inference.instruction import Instruction, induce
from refhcm.tasks.chain import chain_instruction

POINTS = f"{BOX} nose <bin_1> <bin_2>"


@pytest.fixture(scope="module")
def task(text):
    return Instruction(text, SETTINGS, tokenizer=Painter())


def test_chain_instruction():
    asked = chain_instruction("a man", keypoints=True, parsing=True)
    assert asked == 'which region does the text "a man" describe? Provide the parsing map and the keypoints. '
    assert chain_instruction("{}", keypoints=False, parsing=False) == 'which region does the text "{}" describe?'


class Model:
    """Goes on from forced starts as it is told, and remembers them."""

    def __init__(self, task, *answers):
        self.task, self.answers, self.starts = task, list(answers), []

    def __call__(self, rows, starts, length):
        codes = [self.task.text.transcribe(start).endswith("<code_0>") for start in starts]
        assert {len(start) + 47 if code else None for start, code in zip(starts, codes, strict=True)} == {length}
        self.starts += [self.task.text.transcribe(start) for start in starts]
        return [written(self.task, self.answers.pop(0)) for _ in rows]


def induced(task, first, *answers, keypoints=False, parsing=False):
    model = Model(task, *answers)
    firsts = [written(task, answer) for answer in ([first] if isinstance(first, str) else first)]
    chained = induce(task, firsts, model, keypoints=keypoints, parsing=parsing)
    return [task.text.transcribe(one.generated.ids) for one in chained], [one.notes for one in chained], model.starts


def test_nothing_is_induced_that_is_there(task):
    whole = f"{POINTS} {BOX} {CODES}"
    assert induced(task, whole, keypoints=True, parsing=True) == ([whole], [()], [])
    assert induced(task, BOX) == ([BOX], [()], [])


def test_keypoints_then_parts_are_induced(task):
    whole = f"{POINTS} {BOX} {CODES}"
    texts, notes, starts = induced(task, BOX, POINTS, whole, keypoints=True, parsing=True)
    assert texts == [whole]
    assert notes == [()]
    assert starts == [f"{BOX} nose", f"{POINTS} {BOX} <code_0>"]


def test_parts_alone_follow_the_box(task):
    texts, _, starts = induced(task, BOX, f"{BOX} {CODES}", parsing=True)
    assert texts == [f"{BOX} {CODES}"]
    assert starts == [f"{BOX} <code_0>"]


def test_failed_induction_keeps_the_last_good_answer_and_says_so(task):
    texts, notes, starts = induced(task, BOX, f"{BOX} nose", f"{BOX} <code_0>", keypoints=True, parsing=True)
    assert texts == [BOX]
    assert [note.partition(":")[0] for note in notes[0]] == ["keypoints", "parsing map"]
    assert starts == [f"{BOX} nose", f"{BOX} <code_0>"]


@pytest.mark.parametrize("second", [f"{POINTS} {BOX} <code_0>", f"{POINTS} {BOX} {CODES.replace('3', '4')}"])
def test_a_map_that_was_there_before_the_keypoints_is_kept(task, second):
    """Where it is not written again behind them."""
    first, again = f"{BOX} {CODES}", second if second.endswith("4>") else f"{POINTS} {BOX} {CODES}"
    texts, notes, starts = induced(task, first, POINTS, second, keypoints=True, parsing=True)
    assert texts == [again]
    assert notes == [()]
    assert starts == [f"{BOX} nose", f"{POINTS} {BOX} <code_0>"]
    before, left = [-float(k) for k in range(53)], [written(task, POINTS), written(task, second)]
    answers = [written(task, first, log_probs=before)]
    (chained,) = induce(task, answers, lambda *_: [left.pop(0)], keypoints=True, parsing=True)
    assert len(chained.generated.log_probs) == len(chained.generated.ids)
    if again != second:
        assert chained.generated.log_probs[-53:].tolist() == before


def test_maps_of_one_length_are_induced_together(task):
    """Those behind other keypoints apart, for an answer has one length."""
    more = f"{POINTS} left_eye <bin_3> <bin_4>"
    sizes, firsts = [], [written(task, answer) for answer in (POINTS, more, POINTS)]

    def ask(rows, starts, length):
        sizes.append(len(rows))
        return [written(task, f"{task.text.transcribe(start)} {CODES[len('<code_3> ') :]}") for start in starts]

    chained = induce(task, firsts, ask, keypoints=False, parsing=True)
    assert sizes == [2, 1]
    assert [one.notes for one in chained] == [()] * 3
    assert ["<bin_3>" in task.text.transcribe(one.generated.ids) for one in chained] == [False, True, False]


def test_a_kept_map_is_the_only_one(task):
    """Where the keypoints' answer ended in codes of its own."""
    ends = f"{POINTS} {BOX} <code_1> <code_2>"
    texts, notes, _ = induced(task, f"{BOX} {CODES}", ends, BOX, keypoints=True, parsing=True)
    assert (texts, notes) == ([f"{POINTS} {BOX} {CODES}"], [()])


def test_nothing_is_induced_without_a_box(task):
    texts, notes, starts = induced(task, "a man", keypoints=True, parsing=True)
    assert texts == ["a man"]
    assert all("no box" in note for note in notes[0])
    assert len(notes[0]) == 2
    assert starts == []


def test_questions_of_a_batch_are_induced_by_themselves(task):
    firsts = [POINTS, BOX, "a man", BOX]
    texts, notes, starts = induced(task, firsts, POINTS, f"{BOX} nose", keypoints=True)
    assert texts == [POINTS, POINTS, "a man", BOX]
    assert [bool(note) for note in notes] == [False, False, True, True]
    assert len(starts) == 2


@pytest.fixture
def chain(models, image, monkeypatch):
    """`chain(answers, texts, **wanted)`: the answers, and the batches and lengths that the network was asked with."""
    model, asked = models("multitask"), []

    def chained(answers, texts, **wanted):
        def generate(network, batch, settings, *, distributions=False):
            asked.append((batch.get("prefix_tokens"), settings.min_len, settings.max_len_b))
            return [written(model._instruction, answers.pop(0)) for _ in batch["net_input"]["src_tokens"]]

        monkeypatch.setattr(model._instruction, "generate", generate)
        return model.chain(image, texts, **wanted), asked

    return chained


def test_an_answer_without_a_part_is_not_valid_and_says_why(chain):
    box, nose = "<bin_25> <bin_25> <bin_75> <bin_225>", "nose <bin_30> <bin_125>"
    (lacking, whole), _ = chain([box, f"{box} {nose}", box], ["a", "b"], keypoints=True)
    assert (lacking.valid, lacking.notes) == (False, ("keypoints: could not be induced (none was named)",))
    assert lacking.box_xyxy is not None
    assert (whole.valid, whole.notes) == (True, ())
    assert whole.keypoints["nose"] is not None


def test_a_map_is_induced_by_a_code_and_has_its_length(chain, models):
    box = "<bin_25> <bin_25> <bin_75> <bin_225>"
    answer, asked = chain([box, f"{box} {CODES}"], "a", parsing=True)
    assert answer.valid
    assert answer.label_map is not None
    (nothing, *_), (start, *lengths) = asked
    assert nothing is None
    assert models("multitask").text.transcribe(start[0].tolist()) == f"{box} <code_0>"
    assert lengths == [52, 52]  # the box and 48 codes
