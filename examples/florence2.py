"""Florence-2's boxes for the rows of a REC table, as JSON lines for `refhcm score` (docs/benchmark.md).

    pip install "transformers>=4.56"
    python -m refhcm.examples.florence2 dataset/rec/refcoco_testA.tsv florence2.jsonl
    refhcm score dataset/rec/refcoco_testA.tsv florence2.jsonl --task refcoco --coordinates florence-2

Another model needs another `Grounder`; the rest stays as it is.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from refhcm.data.images import read_picture
from refhcm.data.tables import TABLES
from refhcm.data.tsv import TsvFile
from refhcm.utils.errors import UserError, exit_status
from refhcm.utils.files import atomic_write
from refhcm.utils.flags import positive

PROMPTS = {"grounding": "<CAPTION_TO_PHRASE_GROUNDING>", "detection": "<OPEN_VOCABULARY_DETECTION>"}
MOST_TOKENS = 256  # of an answer: the expression's words, and boxes of 4; transformers' own limit is 20
BEAMS = 3  # as on Florence-2's card; with beams, generation says how probable its answer is

Grounder = Callable[[Sequence[Image.Image], Sequence[str]], Iterable[tuple[str, float]]]


def florence2(name: str, prompt: str) -> Grounder:
    """Pictures and expressions -> the text that Florence-2 writes about each, and its score.

    name: of a model on the Hugging Face hub, or a folder. The score is the answer's log-probability by length.
    """
    try:
        from transformers import AutoProcessor, Florence2ForConditionalGeneration
    except ImportError as error:
        raise UserError(f'Florence-2 needs transformers: pip install "transformers>=4.56" ({error})') from error
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float16 if device == "cuda" else torch.float32
    try:
        processor = AutoProcessor.from_pretrained(name)
        model = Florence2ForConditionalGeneration.from_pretrained(name, dtype=dtype).eval()
        model = model.to(torch.device(device))
    except (OSError, ValueError) as error:
        raise UserError(f"--model {name}: cannot be loaded: {str(error).splitlines()[0]}") from error

    @torch.inference_mode()
    def ground(images: Sequence[Image.Image], expressions: Sequence[str]) -> Iterable[tuple[str, float]]:
        texts = [PROMPTS[prompt] + expression for expression in expressions]
        inputs = processor(images=list(images), text=texts, padding=True, return_tensors="pt").to(device, dtype)
        settings = {"num_beams": BEAMS, "max_new_tokens": MOST_TOKENS}
        found = model.generate(**inputs, **settings, return_dict_in_generate=True, output_scores=True)
        answers = processor.batch_decode(found.sequences, skip_special_tokens=False)
        return zip(answers, found.sequences_scores.tolist(), strict=True)

    return ground


def answer_table(table: Path, out: Path, ground: Grounder, *, selected_cols: str | None, batch_size: int) -> None:
    """Writes {"id", "answer", "score"} for each row: a box in the text means what `--coordinates` says."""
    columns = TABLES["refcoco"]
    file = TsvFile(table, selected_cols or columns.default_cols, names=columns.columns)
    with atomic_write(out) as part, part.open("w", encoding="utf-8") as lines:
        for start in tqdm(range(0, len(file), batch_size), desc=table.name, unit="batch"):
            rows = range(start, min(start + batch_size, len(file)))
            cells = [file[k] for k in rows]
            images = [
                read_picture(cell["image"], where=file.where(k)).image for k, cell in zip(rows, cells, strict=True)
            ]
            answers = ground(images, [cell["expression"] for cell in cells])
            for cell, (answer, score) in zip(cells, answers, strict=True):
                lines.write(json.dumps({"id": cell["id"], "answer": answer, "score": score}, ensure_ascii=False) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="TSV table of REC")
    parser.add_argument("out", type=Path, help="file to write the answers to")
    model = "name on the Hugging Face hub, or a folder (default: %(default)s)"
    parser.add_argument("--model", default="florence-community/Florence-2-large-ft", help=model)
    prompt = "what Florence-2 is asked: to ground the expression's phrases, or to find what it names as a whole"
    parser.add_argument("--prompt", choices=list(PROMPTS), default="grounding", help=prompt)
    parser.add_argument("--selected-cols", help="columns of the table, such as 0,5,2,3 for one of RKpt")
    parser.add_argument("--batch-size", type=positive, default=8, help="rows at a time (default: 8)")
    args = parser.parse_args(arguments)
    ground = florence2(args.model, args.prompt)
    answer_table(args.table, args.out, ground, selected_cols=args.selected_cols, batch_size=args.batch_size)


if __name__ == "__main__":
    sys.exit(exit_status(main))
