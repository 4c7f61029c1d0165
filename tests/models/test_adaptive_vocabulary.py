import pytest
import torch

from models.adaptive_vocabulary import AdaptiveVocabulary

V, H, N = 23, 8, 5
every_cut = pytest.mark.parametrize("cutoffs", [(), (7,), (3, 11)], ids=["plain", "one cut", "two cuts"])


def vocabulary(cutoffs):
    torch.manual_seed(1)
    made = AdaptiveVocabulary(V, H, cutoffs, shrink=2)
    for bias in made.biases:
        torch.nn.init.normal_(bias)
    return made


@every_cut
def test_probabilities_sum_to_one_over_all_words_and_padding_has_none(cutoffs):
    p_NV = vocabulary(cutoffs).log_probabilities(torch.randn(N, H)).exp()
    assert p_NV.shape == (N, V)
    torch.testing.assert_close(p_NV.sum(dim=1), torch.ones(N), atol=1e-6, rtol=0)
    assert (p_NV[:, 0] == 0).all()
    assert (p_NV[:, 1:] > 0).all()


@every_cut
def test_the_probability_of_one_word_is_the_one_among_all(cutoffs):
    made, states_NH = vocabulary(cutoffs), torch.randn(V - 1, H)
    words_N = torch.arange(1, V)
    everything_NV = made.log_probabilities(states_NH)
    torch.testing.assert_close(
        made.log_probability(states_NH, words_N), everything_NV[words_N - 1, words_N], atol=1e-5, rtol=0
    )


def test_a_cut_beyond_the_vocabulary_cuts_nothing():
    assert vocabulary((7, 40)).edges == vocabulary((7,)).edges == (0, 7, V)


def test_rare_words_have_narrow_vectors():
    assert [tuple(table.shape) for table in vocabulary((3, 11)).tables] == [(3, 8), (8, 4), (12, 2)]


@every_cut
def test_every_word_has_its_own_vector_whatever_its_cluster(cutoffs):
    vectors_VH = vocabulary(cutoffs).embed(torch.arange(V).unsqueeze(0))[0]
    assert vectors_VH.shape == (V, H)
    assert len({tuple(vector) for vector in vectors_VH.tolist()}) == V


@every_cut
def test_embedding_and_softmax_share_their_weights(cutoffs):
    made = vocabulary(cutoffs)
    words_N = torch.tensor([2, 5, 20])
    made.log_probability(torch.randn(3, H), words_N).sum().backward()
    from_softmax = [table.grad.clone() for table in made.tables]
    made.zero_grad()
    made.embed(words_N.unsqueeze(0)).sum().backward()
    for table, grad in zip(made.tables, from_softmax, strict=True):
        assert table.grad.abs().sum() > 0
        assert grad.abs().sum() > 0
