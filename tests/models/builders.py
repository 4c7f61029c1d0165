"""Small networks, stories and recipes; sizes are distinct, so that a swapped dimension shows itself."""

import itertools
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch

from models.data.sample import sample_stories
from models.data.stories import split_by_story
from models.families import FAMILIES
from models.question_answering import QuestionAnsweringOptions, QuestionAnsweringRecipe

VOCABULARY, ANSWERS, EMBEDDING, HIDDEN, HOPS = 23, 5, 6, 7, 3


def variants():
    """Every family that reads stories, with every combination of its named options."""
    for name, family in FAMILIES.items():
        if family.task != "qa":
            continue
        choices = {
            field: get_args(hint)
            for field, hint in get_type_hints(family.config).items()
            if get_origin(hint) is Literal
        }
        for values in itertools.product(*choices.values()):
            yield name, dict(zip(choices, values, strict=True))


def network(family="dmn_plus", **options):
    sizes = {"vocabulary": VOCABULARY, "answers": ANSWERS, "embedding": EMBEDDING, "hidden": HIDDEN}
    config = FAMILIES[family].config(**sizes | {"hops": HOPS} | options)
    built = FAMILIES[family].network(config)
    with torch.no_grad():  # biases begin at zero, where a mistake with them would not show
        for name, weight in built.named_parameters():
            if "b_" in name or "bias" in name:
                weight.normal_(std=0.3)
    return built.eval()


def sentence(rng, words):
    return rng.integers(1, VOCABULARY, words)


def story(rng, lengths):
    """Random sentences of these lengths as padded token ids ``[F, T]``."""
    tokens = np.zeros((len(lengths), max(lengths)), dtype=np.int64)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = sentence(rng, length)
    return tokens


def padded(tokens, *shape):
    """The same token ids in a larger array."""
    larger = np.zeros(shape, dtype=np.int64)
    larger[tuple(map(slice, tokens.shape))] = tokens
    return larger


def ask(net, stories, questions):
    """Run a network on lists of unpadded stories and questions, as one batch."""
    shape = [max(one.shape[axis] for one in stories) for axis in (0, 1)]
    story_tokens = np.stack([padded(one, *shape) for one in stories])
    question_tokens = np.stack([padded(one, max(map(len, questions))) for one in questions])
    with torch.no_grad():
        return net(torch.from_numpy(story_tokens), torch.from_numpy(question_tokens))


def recipe(stories=40, family="dmn_plus", shape=None, **options):
    """A recipe on sample stories that learns in seconds."""
    train, valid = split_by_story(sample_stories(stories, seed=3, facts=4), share=0.2, seed=3)
    learning = QuestionAnsweringOptions(**{"questions_a_batch": 16, "serve_max_facts": 24} | options)
    return QuestionAnsweringRecipe(
        family, train, valid, learning, {"embedding": 6, "hidden": 7} | (shape or {})
    )
