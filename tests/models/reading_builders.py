"""Small readers and texts; sizes are distinct, so that a swapped dimension shows itself."""

import numpy as np
import torch

from models.attention_sum_reader import AttentionSumReader, AttentionSumReaderConfig
from models.data.cloze import read_sentence, reading_vocabulary, split_text

VOCABULARY, SLOTS, EMBEDDING, HIDDEN = 29, 4, 5, 7
VARIANTS = {
    "paper": {},
    "placeholder": {"readout": "placeholder"},
    "match": {"match": True},
    "everything": {"readout": "placeholder", "match": True, "layers": 2},
    "gated": {"match": True, "layers": 3, "gated": True},
    "linked": {"layers": 2, "linked": True},
    "gated and linked": {"match": True, "layers": 3, "gated": True, "linked": True},
}

TEXT = (
    "The old mill stood by the river when Ada came from Norwich. Her friend Ben had a boat near Norwich. "
    "Every day Ada took the boat to the mill and met Ben there. People in Norwich said that Ben was mad. "
    "A letter for Ada came from London in March. In the mill Ada read the letter to Ben and to a dog. "
    "It said that her brother Carl was in London with a friend named Dora. They had a house in London. "
)


def reader(seed=1, **options):
    """An untrained reader in evaluation mode, whose biases are not zero."""
    torch.manual_seed(seed)
    sizes = {"vocabulary": VOCABULARY, "slots": SLOTS, "embedding": EMBEDDING, "hidden": HIDDEN}
    network = AttentionSumReader(AttentionSumReaderConfig(**sizes | options))
    with torch.no_grad():
        network.embedding.weight[1:].normal_()
        for name, weight in network.named_parameters():
            if "b_" in name or "_O" in name or "nearness" in name:
                weight.normal_(std=0.5)
    return network.eval()


def words(rng, count):
    return torch.from_numpy(rng.integers(3, VOCABULARY, count))


def cloze(rng, count, place):
    """Random words with the placeholder at a place."""
    question = words(rng, count)
    question[place] = 2
    return question


def stacked(rows):
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def sentences(text=TEXT):
    cutter = reading_vocabulary(())
    return [read_sentence(one, cutter) for one in split_text(text)]


def rng(seed=0):
    return np.random.default_rng(seed)
