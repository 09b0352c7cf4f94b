"""Trains a task: `python train.py DATA --task refcoco --arch refhcm ...`, or the same under `torchrun`."""

from refhcm.training.command import main_and_exit

if __name__ == "__main__":
    main_and_exit()
