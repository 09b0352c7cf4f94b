"""Trains a task: `python train.py DATA --task refcoco ...`, the same as `refhcm train`, or under `torchrun`."""

import sys

from refhcm.apps.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
