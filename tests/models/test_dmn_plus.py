import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.dmn_plus import (
    DeepMemoryUpdate,
    DMNPlusConfig,
    EpisodicGate,
    LearnedSentenceEncoder,
    MemoryUpdate,
    SentenceEncoder,
)
from models.recurrent import AttentionGRU
from tests.models.builders import (
    ANSWERS,
    EMBEDDING,
    HIDDEN,
    HOPS,
    VOCABULARY,
    ask,
    network,
    padded,
    sentence,
    story,
)
from tests.models.test_recurrent import attention_gru_step_by_step

B, F, T = 2, 3, 5


def position_encoding(words_TD):
    """Section 3.1 of the paper, word by word and dimension by dimension."""
    count, size = words_TD.shape
    sentence_D = torch.zeros(size)
    for j in range(1, count + 1):
        for d in range(1, size + 1):
            weight = (1 - j / count) - (d / size) * (1 - 2 * j / count)
            sentence_D[d - 1] += weight * words_TD[j - 1, d - 1]
    return sentence_D


def last_state(held, x_SD):
    """The states of torch's own GRU with the weights of ``held``."""
    plain = torch.nn.GRU(x_SD.shape[1], HIDDEN)
    weights = (held.w_ih, held.w_hh, held.b_ih, held.b_hh)
    plain.load_state_dict(dict(zip(plain.state_dict(), weights, strict=True)))
    return plain(x_SD)[0]


@torch.no_grad()
def paper(net, story_FT, question_Q):
    """DMN+ as the paper writes it, for one unpadded story: the gates of every hop and the answer's logits."""
    facts_FD = torch.stack([position_encoding(net.embedding(fact[fact > 0])) for fact in story_FT])
    facts_FH = last_state(net.fusion_forward, facts_FD)
    facts_FH = facts_FH + last_state(net.fusion_backward, facts_FD.flip(0)).flip(0)
    question_H = last_state(net.question_encoder, net.embedding(question_Q))[-1]
    memory_H, gates = question_H, []
    for update in net.memory_updates:
        scores = []
        for fact_H in facts_FH:
            products = [fact_H * question_H, fact_H * memory_H]
            z_4H = torch.cat([*products, (fact_H - question_H).abs(), (fact_H - memory_H).abs()])
            scores.append(net.gate.score(torch.tanh(net.gate.hidden_layer(z_4H))))
        gates.append(torch.cat(scores).softmax(dim=0))
        assert isinstance(net.attention_gru, AttentionGRU)
        episode_H = attention_gru_step_by_step(net.attention_gru, facts_FH, gates[-1])
        memory_H = torch.relu(update.linear(torch.cat([memory_H, episode_H, question_H])))
    return torch.stack(gates), net.answer(torch.cat([memory_H, question_H]))


def test_the_network_is_the_papers():
    net, rng = network(), np.random.default_rng(5)
    story_FT, question_Q = story(rng, (4, 1, 2, 5)), sentence(rng, 3)
    gate_KF, logits_A = paper(net, torch.from_numpy(story_FT), torch.from_numpy(question_Q))
    output = ask(net, [story_FT], [question_Q])
    torch.testing.assert_close(output.gate_BKF[0], gate_KF, atol=1e-5, rtol=0)
    torch.testing.assert_close(output.hop_logits_BKA[0, -1], logits_A, atol=1e-5, rtol=0)


def test_outputs_have_the_shapes_they_promise():
    rng = np.random.default_rng(1)
    output = ask(network(), [story(rng, [T] * F)] * B, [sentence(rng, 4)] * B)
    assert output.hop_logits_BKA.shape == (B, HOPS, ANSWERS)
    assert output.gate_BKF.shape == output.log_gate_BKF.shape == (B, HOPS, F)
    assert output.memory_BKH.shape == (B, HOPS, HIDDEN)


def test_the_sentence_encoder_is_the_papers_double_sum():
    words_BFTD = torch.randn(B, F, T, EMBEDDING)
    real_BFT = torch.ones(B, F, T)
    real_BFT[0, 1, 2:] = 0
    real_BFT[1, 2, 1:] = 0
    words_BFTD = words_BFTD * real_BFT.unsqueeze(-1)
    encoded_BFD = SentenceEncoder(EMBEDDING)(words_BFTD, real_BFT)
    for b in range(B):
        for f in range(F):
            words_TD = words_BFTD[b, f, : int(real_BFT[b, f].sum())]
            torch.testing.assert_close(encoded_BFD[b, f], position_encoding(words_TD), atol=1e-5, rtol=0)


def test_a_learned_encoder_weighs_each_position():
    words_BFTD = torch.randn(B, F, T, EMBEDDING)
    encoder = LearnedSentenceEncoder(EMBEDDING, max_words=11)
    expected_BFD = sum(words_BFTD[:, :, t] * encoder.mask_TD[t] for t in range(T))
    torch.testing.assert_close(encoder(words_BFTD, torch.ones(B, F, T)), expected_BFD, atol=1e-5, rtol=0)


def test_the_gate_spreads_one_over_the_real_facts():
    real_BF = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])
    question_BH, memory_BH = torch.randn(B, HIDDEN), torch.randn(B, HIDDEN)
    gate, facts_BFH = EpisodicGate(HIDDEN), torch.randn(B, F, HIDDEN)
    gate_BF = gate(facts_BFH, gate.ask(facts_BFH, question_BH), memory_BH, real_BF).exp() * real_BF
    torch.testing.assert_close(gate_BF.sum(dim=-1), torch.ones(B))
    assert gate_BF[1].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("update", [MemoryUpdate, DeepMemoryUpdate], ids=["relu", "deep"])
def test_a_memory_update_depends_on_memory_episode_and_question(update):
    inputs = [torch.randn(B, HIDDEN, requires_grad=True) for _ in range(3)]
    memory_BH = update(HIDDEN)(*inputs)
    memory_BH.sum().backward()
    assert memory_BH.shape == (B, HIDDEN)
    assert all(one.grad.abs().sum() > 0 for one in inputs)


def test_the_papers_memory_is_never_negative():
    assert (MemoryUpdate(HIDDEN)(*torch.randn(3, B, HIDDEN)) >= 0).all()


stories = st.lists(st.integers(1, 6), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(stories, min_size=2, max_size=5),
    questions=st.lists(st.integers(1, 7), min_size=5, max_size=5),
    encoder=st.sampled_from(["positional", "learned"]),
    seed=st.integers(0, 1000),
)
def test_an_answer_does_not_depend_on_the_batch(lengths, questions, encoder, seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = network(sentence_encoder=encoder)
    asked = [
        (story(rng, facts), sentence(rng, words)) for facts, words in zip(lengths, questions, strict=False)
    ]
    together = ask(net, *zip(*asked, strict=True))
    for row, (tokens, question) in enumerate(asked):
        alone = ask(net, [tokens], [question])
        facts = len(tokens)
        torch.testing.assert_close(together.gate_BKF[row, :, :facts], alone.gate_BKF[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.memory_BKH[row], alone.memory_BKH[0], atol=1e-5, rtol=0)
        torch.testing.assert_close(together.hop_logits_BKA[row], alone.hop_logits_BKA[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "shape",
    [((4, 9), 3), ((8, 5), 3), ((4, 5), 8), ((13, 17), 11)],
    ids=["words", "facts", "question words", "all of them"],
)
def test_padding_changes_nothing_and_receives_no_attention(shape):
    net, rng = network(), np.random.default_rng(2)
    tokens, question = story(rng, (4, 5, 1, 2)), sentence(rng, 3)
    (facts_words, question_words) = shape
    plain = ask(net, [tokens], [question])
    wide = ask(net, [padded(tokens, *facts_words)], [padded(question, question_words)])
    torch.testing.assert_close(wide.hop_logits_BKA, plain.hop_logits_BKA, atol=1e-5, rtol=0)
    torch.testing.assert_close(wide.gate_BKF[:, :, :4], plain.gate_BKF, atol=1e-6, rtol=0)
    assert wide.gate_BKF[:, :, 4:].abs().sum() == 0
    torch.testing.assert_close(wide.gate_BKF.sum(dim=-1), torch.ones(1, HOPS))


def test_a_single_one_word_fact_has_all_the_attention():
    rng = np.random.default_rng(4)
    output = ask(network(), [story(rng, [1])], [sentence(rng, 1)])
    assert output.gate_BKF.tolist() == [[[1.0]] * HOPS]
    assert output.hop_logits_BKA.isfinite().all()


def test_a_story_of_256_facts_equals_itself_in_a_batch():
    net, rng = network(), np.random.default_rng(6)
    long, short = story(rng, rng.integers(1, 7, 256)), story(rng, (2, 3))
    question = sentence(rng, 4)
    together = ask(net, [long, short], [question, question])
    for row, tokens in enumerate((long, short)):
        alone = ask(net, [tokens], [question])
        torch.testing.assert_close(together.hop_logits_BKA[row], alone.hop_logits_BKA[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together.gate_BKF.sum(dim=-1), torch.ones(2, HOPS), atol=1e-5, rtol=0)


def test_the_order_of_the_facts_matters():
    net, rng = network(), np.random.default_rng(8)
    tokens, question = story(rng, (3, 3, 3)), sentence(rng, 2)
    there, back = ask(net, [tokens], [question]), ask(net, [tokens[::-1].copy()], [question])
    assert (there.hop_logits_BKA - back.hop_logits_BKA).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hops": 0}, "hops must be at least 1, got 0"),
        ({"memory_update": "gru"}, "memory_update must be 'relu' or 'deep', got 'gru'"),
        ({"sentence_encoder": "bag"}, "sentence_encoder must be 'positional' or 'learned', got 'bag'"),
    ],
    ids=["no hops", "unknown update", "unknown encoder"],
)
def test_a_configuration_refuses_what_no_network_has(wrong, message):
    with pytest.raises(ValueError, match=message):
        DMNPlusConfig(vocabulary=VOCABULARY, answers=ANSWERS, **wrong)
