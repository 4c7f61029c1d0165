"""A small untrained network that answers step by step: it reads tokens and writes tokens."""

import torch
from torch import nn

from export.greedy import greedy_graphs
from export.wrappers import Graph, Greedy
from server.contract.manifest import AttentionSpec, Stage, TensorSpec

IDS, HIDDEN, MOST = 11, 5, 7
END, START = 1, 0
LIMITS = {"source_tokens": 13}


class Encoder(nn.Module):
    """Embeds the tokens; a row may write twice as many as it reads."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(IDS, HIDDEN)

    def forward(self, source_BT):
        present_BT = source_BT != 0
        memory_BTH = self.embedding(source_BT) * present_BT.unsqueeze(-1)
        return memory_BTH, present_BT, memory_BTH.sum(dim=1).tanh(), (2 * present_BT).sum(dim=1)


class Step(nn.Module):
    """Looks at the tokens, moves its state, and says what may come next."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(IDS, HIDDEN)
        self.inner = nn.Linear(3 * HIDDEN, HIDDEN)
        self.outer = nn.Linear(HIDDEN, IDS)

    def forward(self, memory_BTH, present_BT, state_BH, previous_B):
        logits_BT = (memory_BTH @ state_BH.unsqueeze(-1)).squeeze(-1).masked_fill(~present_BT, -1e9)
        attention_BT = logits_BT.softmax(dim=-1)
        seen_BH = (attention_BT.unsqueeze(-1) * memory_BTH).sum(dim=1)
        parts = [state_BH, seen_BH, self.embedding(previous_B)]
        state_BH = self.inner(torch.cat(parts, dim=-1)).tanh()
        return state_BH, self.outer(4 * state_BH).log_softmax(dim=-1), attention_BT


def spec(name, *dims, datatype="FP32"):
    return TensorSpec(name=name, datatype=datatype, dims=("batch", *dims))


def stepwise_graphs(most="most_tokens", end=END, seed=1):
    """Make the graphs of such a network."""
    torch.manual_seed(seed)
    encoder = Stage(
        inputs=(spec("source_tokens", "source_tokens", datatype="INT64"),),
        outputs=(
            spec("memory", "source_tokens", HIDDEN),
            spec("present", "source_tokens", datatype="BOOL"),
            spec("state", HIDDEN),
            spec("most_tokens", datatype="INT64"),
        ),
    )
    step = Stage(
        inputs=(*encoder.outputs[:3], spec("previous_token", datatype="INT64")),
        outputs=(
            spec("next_state", HIDDEN),
            spec("log_probabilities", IDS),
            spec("attention", "source_tokens"),
        ),
    )
    return greedy_graphs(
        Graph(Encoder().eval(), encoder, LIMITS, IDS),
        Graph(Step().eval(), step, LIMITS),
        Greedy("previous_token", "log_probabilities", START, end, most, "tokens", ("attention",)),
        AttentionSpec(
            output="attention",
            kind="alignment",
            axes=("step", "source_token"),
            normalized_over="source_token",
        ),
    )
