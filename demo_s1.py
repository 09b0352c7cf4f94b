"""Several tasks in one instruction (S1 decoding): the person that a text describes, with keypoints and parts.

    python demo_s1.py --image_path street.jpg --text "the woman in red" --kpt --par --out answer.png

Prints the answer, and draws it with its legend.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from refhcm.data.pictures import open_picture
from refhcm.inference.drawing import answer_card
from refhcm.inference.loading import DTYPES, load
from refhcm.utils.errors import UserError, exit_status

FORMATS = (".png", ".jpg", ".jpeg")


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image_path", "--image-path", required=True, help="picture")
    parser.add_argument("--text", required=True, help="who is meant, such as: the woman in red")
    parser.add_argument("--kpt", action="store_true", help="ask for keypoints, too")
    parser.add_argument("--par", action="store_true", help="ask for parts, too")
    parser.add_argument("--checkpoint", help="trained model (default: the small one of drawn people)")
    parser.add_argument("--tokenizer", help="folder of the parsing maps' model.yaml and model.ckpt")
    parser.add_argument("--bpe-dir", help="folder of dict.txt, encoder.json and vocab.bpe")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument("--dtype", default="auto", choices=["auto", *DTYPES], help="number format (default: auto)")
    parser.add_argument("--out", type=Path, default=Path("s1.png"), help="picture to write (default: s1.png)")
    parser.add_argument("--json", action="store_true", help="print the whole answer as JSON")
    return parser


def run(args: argparse.Namespace) -> None:
    """Asks, prints and draws."""
    if args.out.suffix.lower() not in FORMATS:
        raise UserError(f"--out {args.out}: needs a name that ends in {', '.join(FORMATS)}")
    image = open_picture(args.image_path, where="--image_path")
    model = load(args.checkpoint, tokenizer=args.tokenizer, bpe_dir=args.bpe_dir, device=args.device, dtype=args.dtype)
    answer = model.chain(image, args.text, keypoints=args.kpt, parsing=args.par)
    if args.json:
        print(answer.to_json(indent=2))
    else:
        print(answer.text)
        print(json.dumps({"valid": answer.valid, "box": answer.to_dict()["box"], "parts": list(answer.parts)}))
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    answer_card(image, answer, question=args.text).save(args.out)
    print(f"{args.out}: drawn", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0, or 2 for a mistake of the user's, which is one line."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    args = make_parser().parse_args(arguments)
    return exit_status(lambda: run(args))


if __name__ == "__main__":
    sys.exit(main())
