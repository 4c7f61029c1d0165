"""Small translation networks and recipes; sizes are distinct, so that a swapped dimension shows itself."""

import numpy as np
import torch

from models.attention_gru import AttentionGRU, AttentionGRUConfig
from models.data.parallel import Pair
from models.data.sample_pairs import sample_pairs
from models.extended_neural_gpu import ExtendedNeuralGPU, ExtendedNeuralGPUConfig
from models.translating import TranslationOptions, TranslationRecipe

VOCABULARY = 23
FIRST = 4
"""The first id that is no special one."""

SHAPES = {
    "attention_gru": {"embedding": 6, "encoder_hidden": 5, "hidden": 7, "alignment": 3},
    "extended_neural_gpu": {"embedding": 6, "maps": 9, "steps": 3, "behind": 1, "ahead": 3},
}

VARIANTS = {
    "attention": ("attention_gru", {}),
    "attention, own source embedding": ("attention_gru", {"shared_embedding": False}),
    "window": ("extended_neural_gpu", {}),
    "window, wide": ("extended_neural_gpu", {"width": 2, "kernel_width": 3, "kernel": 5, "diagonal": False}),
    "whole canvas": (
        "extended_neural_gpu",
        {"ahead": 0, "width": 2, "kernel_width": 3, "encoder_layers": 2, "decoder_layers": 2},
    ),
    "whole canvas, as many steps as columns": (
        "extended_neural_gpu",
        {"ahead": 0, "steps": 0, "relaxation": 3, "gate_cutoff": 0.1},
    ),
    "listening": ("extended_neural_gpu", {"read": "maximum", "columns": 1}),
    "listening, wide": (
        "extended_neural_gpu",
        {"read": "maximum", "width": 2, "kernel_width": 3, "decoder_layers": 2, "decoder_kernel": 3},
    ),
    "plain": ("extended_neural_gpu", {"form": "plain"}),
    "Markovian": ("extended_neural_gpu", {"form": "markovian"}),
}
"""Every form that the families of this task offer: family and options."""


def network(variant="attention", seed=1, **options):
    """A network of a variant in evaluation mode, with biases that are not zero."""
    family, chosen = VARIANTS[variant]
    kind, config = {
        "attention_gru": (AttentionGRU, AttentionGRUConfig),
        "extended_neural_gpu": (ExtendedNeuralGPU, ExtendedNeuralGPUConfig),
    }[family]
    torch.manual_seed(seed)
    made = kind(config(VOCABULARY, VOCABULARY, **SHAPES[family] | chosen | options))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "b_" in name or "bias" in name:
                weight.normal_(std=0.3)
    return made.eval()


def ids(rng, length):
    return rng.integers(FIRST, VOCABULARY, length)


def pairs(count, seed=3):
    return [Pair(*pair) for pair in sample_pairs(count, seed)]


def recipe(family="attention_gru", train=40, valid=12, shape=None, **options):
    """A recipe on sentences of the made-up language."""
    learning = {"pieces": 400, "pieces_a_batch": 300, "averaged_epochs": 2, "bleu_pairs": 4} | options
    return TranslationRecipe(
        family,
        pairs(train),
        pairs(valid, seed=4),
        ("en", "art"),
        TranslationOptions(**learning),
        SHAPES[family] | (shape or {}),
    )


def padded(rows):
    longest = max(map(len, rows))
    return torch.from_numpy(np.stack([np.pad(row, (0, longest - len(row))) for row in rows]))
