"""Settings that a checkpoint brings are checked against its weights before anything is made of them."""

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch

from refhcm.tasks.settings import TaskSettings, settings_of
from refhcm.utils.checkpoints import Checkpoint
from refhcm.utils.errors import CheckpointError, UserError

FITTING = {"num_bins": 20, "code_dict_size": 40, "patch_image_size": 64, "arch": "refhcm_test"}


def settings(given=None, weights=None, **flags):
    weights = {"encoder.embed_tokens.weight": torch.zeros(321, 64)} if weights is None else weights
    checkpoint = Checkpoint(Path("a.pt"), argparse.Namespace(**FITTING | flags), weights, {})
    return settings_of(checkpoint, argparse.Namespace(**(given or {})))


def test_what_fits_is_taken_and_numpy_s_numbers_are_numbers():
    assert settings(num_bins=np.int64(30)).num_bins == 30
    assert settings(max_src_length=None).max_src_length == TaskSettings.max_src_length
    assert settings({"num_bins": 25}).num_bins == 25
    most = settings(code_dict_size=301, patch_image_size=192)  # 20 + 301 symbols, 12 patches of 16 px
    assert (most.code_dict_size, most.patch_image_size) == (301, 192)


def test_what_only_concerned_the_training_run_is_not_taken():
    """Its folders and files may be gone, and its way of validating is not the user's."""
    run = {"bpe_dir": 7, "data": [1], "selected_cols": "0,9", "annotation_root": "/gone", "skip_bad_rows": 9}
    run |= {"vq_config": "/gone.yaml", "vq_ckpt": "/gone.ckpt", "eval_args": '{"beam": 1}'}
    assert settings(**run, eval_cider_cached_tokens="/gone.p") == settings()
    assert settings(vq_n_embed=16, **run) == settings(vq_n_embed=16) != settings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"num_bins": 10**10}, "num_bins is 10000000000, expected a whole number from 2 to 1048576"),
        ({"num_bins": 1}, "num_bins is 1"),
        ({"code_dict_size": "many"}, "code_dict_size is 'many'"),
        ({"code_dict_size": 302}, "num_bins 20 and code_dict_size 302 do not fit into the 321 symbols"),
        ({"patch_image_size": 512}, "patch_image_size 512 is above the network's 192 px"),
        ({"max_image_size": -1}, "max_image_size is -1"),
        ({"share_pictures": "no"}, "share_pictures is 'no', expected yes or no"),
        ({"image_bucket_size": 10**9}, "image_bucket_size is 1000000000"),
        ({"weights": {}}, "holds no embedding"),
    ],
)
def test_what_the_weights_do_not_bear_out(flags, message):
    with pytest.raises(CheckpointError, match=f"^a.pt: {message}"):
        settings(**flags)


def test_a_user_s_own_settings_are_checked_alike():
    with pytest.raises(UserError, match="rows_together is 0, expected a whole number from 1"):
        TaskSettings(rows_together=0)
