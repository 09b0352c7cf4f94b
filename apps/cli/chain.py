"""Asks several tasks in one instruction (S1 decoding): where a person is, with keypoints and body parts.

    refhcm chain --image_path street.jpg --text "the woman in red" --kpt --par --out answer.png

Prints the answer and draws it on the picture, with a legend.
"""

import argparse
import json
import sys
from pathlib import Path

from ...data.pictures import open_picture
from ...inference.drawing import answer_card
from ...utils.files import check_output
from .model_flags import add_model_flags, load_model
from .pictures import check_format, save_picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--image_path", "--image-path", required=True, help="Ask about this picture.")
    parser.add_argument("--text", required=True, help="Say whom you mean, such as: the woman in red.")
    parser.add_argument("--kpt", action="store_true", help="Ask for the 17 keypoints, too.")
    parser.add_argument("--par", action="store_true", help="Ask for the body parts, too.")
    add_model_flags(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("s1.png"), help="Write the drawn answer to this picture (default: s1.png)."
    )
    parser.add_argument("--json", action="store_true", help="Print the complete answer as JSON.")


def run(args: argparse.Namespace) -> None:
    """Asks, prints and draws."""
    check_format(args.out, where="--out")
    check_output(args.out)
    image = open_picture(args.image_path, where="--image_path")
    answer = load_model(args).chain(image, args.text, keypoints=args.kpt, parsing=args.par)
    if args.json:
        print(answer.to_json(indent=2))
    else:
        print(answer.text)
        print(json.dumps({"valid": answer.valid, "box": answer.to_dict()["box"], "parts": list(answer.parts)}))
    for note in answer.notes:
        print(f"note: {note}", file=sys.stderr)
    save_picture(answer_card(image, answer, question=args.text), args.out)
    print(f"{args.out}: drawn", file=sys.stderr)
