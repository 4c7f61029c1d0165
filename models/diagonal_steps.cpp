// The steps of the diagonal Neural GPU and their gradient, for training on CPUs with bfloat16 dot products.
//
// models/fast_steps.py compiles and calls this; models.diagonal_neural_gpu.DiagonalCGRU.train_step says in
// torch what it computes, and a test holds both together. What is saved for the gradient and what is
// multiplied is bfloat16; memories, sums and gradients of memories are float32.
//
// Legend: M maps (a multiple of 48), C cells of a request, R rows, S steps. Requests of one size lie on one
// line of R = requests * (C + 1) rows: the row behind each request is a separator that stays zero, so no
// request speaks to another. Arrays with R + 2 rows have a row of zeros at both ends.

#include <immintrin.h>

#include <cstdint>
#include <cstring>

typedef uint16_t bfloat;

static const int LANES = 16, TILE_ROWS = 8, TILE_COLUMNS = 48;

static inline __m512 widen(const bfloat* from) {
    __m256i halves = _mm256_loadu_si256((const __m256i*)from);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

static inline void narrow(bfloat* to, __m512 values) {
    _mm256_storeu_si256((__m256i*)to, (__m256i)_mm512_cvtneps_pbh(values));
}

static inline __m512 load(const float* from) { return _mm512_loadu_ps(from); }
static inline void store(float* to, __m512 values) { _mm512_storeu_ps(to, values); }
static inline __m512 all(float value) { return _mm512_set1_ps(value); }

// Numbers near zero count as zero while this lives: they cost a hundred times as much and mean nothing here.
struct FlushDenormals {
    const unsigned before = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(before | 0x8040); }
    ~FlushDenormals() { _mm_setcsr(before); }
};

// Sixteen streams of xorshift random numbers.
struct Random {
    __m512i state;

    explicit Random(uint64_t seed) {
        alignas(64) uint32_t first[LANES];
        for (int lane = 0; lane < LANES; lane++) {  // splitmix64
            seed += 0x9E3779B97F4A7C15ull;
            uint64_t mixed = (seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9ull;
            mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBull;
            first[lane] = (uint32_t)(mixed ^ (mixed >> 31)) | 1;
        }
        state = _mm512_load_si512(first);
    }

    __m512i next() {
        state = _mm512_xor_si512(state, _mm512_slli_epi32(state, 13));
        state = _mm512_xor_si512(state, _mm512_srli_epi32(state, 17));
        return state = _mm512_xor_si512(state, _mm512_slli_epi32(state, 5));
    }
};

// out[R, N] = convolution over three rows of lines[R + 2, K] with weights[3K / 2, N, 2] (pairs interleaved).
// Three neighbouring rows lie one behind the other, so each row of the product reads 3K values from its own.
static void convolve(const bfloat* lines, int K, const bfloat* weights, int N, int R, float* out) {
    const int pairs = 3 * K / 2, stride = K / 2;
    for (int column = 0; column < N; column += TILE_COLUMNS) {
        for (int row = 0; row < R; row += TILE_ROWS) {
            const int rows = R - row < TILE_ROWS ? R - row : TILE_ROWS;
            __m512 sums[TILE_ROWS][3];
            for (auto& sum : sums)
                for (auto& part : sum) part = _mm512_setzero_ps();
            const bfloat* weight = weights + (size_t)column * 2;
            const int32_t* line = (const int32_t*)(lines + (size_t)row * K);
            if (rows == TILE_ROWS) {
                for (int pair = 0; pair < pairs; pair++, weight += 2 * N) {
                    const __m512bh w0 = (__m512bh)_mm512_loadu_si512(weight);
                    const __m512bh w1 = (__m512bh)_mm512_loadu_si512(weight + 32);
                    const __m512bh w2 = (__m512bh)_mm512_loadu_si512(weight + 64);
#pragma GCC unroll 8
                    for (int i = 0; i < TILE_ROWS; i++) {
                        const __m512bh x = (__m512bh)_mm512_set1_epi32(line[i * stride + pair]);
                        sums[i][0] = _mm512_dpbf16_ps(sums[i][0], w0, x);
                        sums[i][1] = _mm512_dpbf16_ps(sums[i][1], w1, x);
                        sums[i][2] = _mm512_dpbf16_ps(sums[i][2], w2, x);
                    }
                }
            } else {
                for (int pair = 0; pair < pairs; pair++, weight += 2 * N)
                    for (int i = 0; i < rows; i++) {
                        const __m512bh x = (__m512bh)_mm512_set1_epi32(line[i * stride + pair]);
                        for (int part = 0; part < 3; part++)
                            sums[i][part] = _mm512_dpbf16_ps(
                                sums[i][part], (__m512bh)_mm512_loadu_si512(weight + 32 * part), x);
                    }
            }
            for (int i = 0; i < rows; i++)
                for (int part = 0; part < 3; part++)
                    store(out + (size_t)(row + i) * N + column + LANES * part, sums[i][part]);
        }
    }
}

// From which row the diagonal carry of a map comes: its own, the one before, the one behind.
static inline int carried_from(int map, int M) { return map < M / 3 ? 0 : (map < 2 * (M / 3) ? -M : M); }

extern "C" {

// Take S steps. All arrays but memory and scratch[R * 3M + (R + 2) * M] are what `gradient` needs again.
// Returns the sum of what the logits of gates and candidates exceed the saturation limit by.
double forward(int M, int R, int S, int C, float* memory /* R + 2, M */, bfloat* before /* S, R + 2, M */,
               bfloat* gates /* S, R, 2M */, bfloat* reset /* S, R + 2, M */, bfloat* candidates /* S, R, M */,
               uint16_t* kept /* S, R, M / 16 */, const bfloat* gate_weights, const float* gate_biases,
               const bfloat* candidate_weights, const float* candidate_biases, float saturation,
               uint32_t drop_below, float scale, uint64_t seed, float* scratch) {
    const FlushDenormals quick;
    Random random(seed);
    const __m512 zero = all(0), half = all(0.5f), one = all(1), limit = all(saturation);
    const __m512i threshold = _mm512_set1_epi32((int)drop_below);
    float *wide = scratch, *logits = wide + (size_t)R * 2 * M, *next = logits + (size_t)R * M;
    double excess = 0;
    for (int step = 0; step < S; step++) {
        bfloat* x = before + (size_t)step * (R + 2) * M;
        bfloat* g = gates + (size_t)step * R * 2 * M;
        bfloat* rs = reset + (size_t)step * (R + 2) * M;
        __m512 beyond = zero;
        for (int i = 0; i < (R + 2) * M; i += LANES) narrow(x + i, load(memory + i));
        convolve(x, M, gate_weights, 2 * M, R, wide);
        memset(rs, 0, 2 * M);
        memset(rs + (size_t)(R + 1) * M, 0, 2 * M);
        for (int row = 0; row < R; row++) {
            float* gate = wide + (size_t)row * 2 * M;
            const float* own = memory + (size_t)(row + 1) * M;
            if (row % (C + 1) == C) {
                memset(g + (size_t)row * 2 * M, 0, 4 * M);
                memset(rs + (size_t)(row + 1) * M, 0, 2 * M);
                continue;
            }
            for (int map = 0; map < 2 * M; map += LANES) {
                __m512 value = load(gate + map) + load(gate_biases + map);
                beyond = beyond + _mm512_max_ps(_mm512_abs_ps(value) - limit, zero);
                value = _mm512_min_ps(_mm512_max_ps(_mm512_fmadd_ps(value, half, half), zero), one);
                store(gate + map, value);
                narrow(g + (size_t)row * 2 * M + map, value);
                if (map < M) narrow(rs + (size_t)(row + 1) * M + map, value * load(own + map));
            }
        }
        convolve(rs, M, candidate_weights, M, R, logits);
        for (int row = 0; row < R; row++) {
            float* after = next + (size_t)(row + 1) * M;
            bfloat* candidate = candidates + ((size_t)step * R + row) * M;
            uint16_t* keeps = kept + ((size_t)step * R + row) * (M / LANES);
            if (row % (C + 1) == C) {
                memset(after, 0, 4 * M);
                memset(candidate, 0, 2 * M);
                memset(keeps, 0, M / 8);
                continue;
            }
            const float* update = wide + (size_t)row * 2 * M + M;
            const float* own = memory + (size_t)(row + 1) * M;
            for (int map = 0; map < M; map += LANES) {
                __m512 value = load(logits + (size_t)row * M + map) + load(candidate_biases + map);
                beyond = beyond + _mm512_max_ps(_mm512_abs_ps(value) - limit, zero);
                value = _mm512_min_ps(_mm512_max_ps(value, -one), one);
                narrow(candidate + map, value);
                const __mmask16 keep = _mm512_cmp_epu32_mask(random.next(), threshold, _MM_CMPINT_NLT);
                keeps[map / LANES] = keep;
                const __m512 written = _mm512_maskz_mul_ps(keep, value, all(scale));
                const __m512 carried = load(own + map + carried_from(map, M));
                store(after + map, _mm512_fmadd_ps(load(update + map), carried - written, written));
            }
        }
        excess += _mm512_reduce_add_ps(beyond);
        memcpy(memory + M, next + M, (size_t)R * M * 4);
    }
    return excess;
}

// Turn the gradient of the last memory into that of the first, and write those of the logits, with zeros at
// separators; `excess` is the gradient of what `forward` returned. scratch[3 * (R + 2) * M].
void gradient(int M, int R, int S, int C, float* memory /* R + 2, M */, const bfloat* before,
              const bfloat* gates, const bfloat* candidates, const uint16_t* kept,
              const bfloat* gate_weights /* transposed */, const bfloat* candidate_weights /* transposed */,
              bfloat* gate_logits /* S, R + 2, 2M */, bfloat* candidate_logits /* S, R + 2, M */,
              float saturation, float scale, float excess, float* scratch) {
    const FlushDenormals quick;
    const __m512 zero = all(0), half = all(0.5f), one = all(1), up = all(excess), down = all(-excess);
    const __m512 high = all((1 + saturation) / 2), low = all((1 - saturation) / 2);
    const __m512 limit = all(saturation), below = all(-saturation);
    float *carried = scratch, *reset = carried + (size_t)(R + 2) * M, *spread = reset + (size_t)(R + 2) * M;
    memset(carried, 0, 4 * M);
    memset(carried + (size_t)(R + 1) * M, 0, 4 * M);
    // The gradient of a gate's logit: half where the gate is neither open nor closed, plus that of the excess.
    auto through_gate = [&](__m512 gate, __m512 product) {
        const __mmask16 inner =
            _mm512_cmp_ps_mask(gate, zero, _CMP_GT_OQ) & _mm512_cmp_ps_mask(gate, one, _CMP_LT_OQ);
        __m512 slope = _mm512_maskz_mul_ps(inner, half, product);
        slope = _mm512_mask_add_ps(slope, _mm512_cmp_ps_mask(gate, high, _CMP_GT_OQ), slope, up);
        return _mm512_mask_add_ps(slope, _mm512_cmp_ps_mask(gate, low, _CMP_LT_OQ), slope, down);
    };
    for (int step = S - 1; step >= 0; step--) {
        const bfloat* x = before + (size_t)step * (R + 2) * M;
        const bfloat* g = gates + (size_t)step * R * 2 * M;
        bfloat* dg = gate_logits + (size_t)step * (R + 2) * 2 * M;
        bfloat* dc = candidate_logits + (size_t)step * (R + 2) * M;
        memset(dg, 0, 4 * M);
        memset(dg + (size_t)(R + 1) * 2 * M, 0, 4 * M);
        memset(dc, 0, 2 * M);
        memset(dc + (size_t)(R + 1) * M, 0, 2 * M);
        for (int row = 0; row < R; row++) {
            float* carry = carried + (size_t)(row + 1) * M;
            bfloat *d_candidate = dc + (size_t)(row + 1) * M, *d_update = dg + (size_t)(row + 1) * 2 * M + M;
            if (row % (C + 1) == C) {
                memset(carry, 0, 4 * M);
                memset(d_candidate, 0, 2 * M);
                memset(d_update, 0, 2 * M);
                continue;
            }
            for (int map = 0; map < M; map += LANES) {
                const __m512 d = load(memory + (size_t)(row + 1) * M + map);
                const __m512 update = widen(g + (size_t)row * 2 * M + M + map);
                const __m512 candidate = widen(candidates + ((size_t)step * R + row) * M + map);
                const __mmask16 keep = kept[((size_t)step * R + row) * (M / LANES) + map / LANES];
                const __m512 written = _mm512_maskz_mul_ps(keep, candidate, all(scale));
                const __m512 came = widen(x + (size_t)(row + 1) * M + map + carried_from(map, M));
                store(carry + map, d * update);
                narrow(d_update + map, through_gate(update, d * (came - written)));
                const __mmask16 inner = keep & _mm512_cmp_ps_mask(_mm512_abs_ps(candidate), one, _CMP_LT_OQ);
                __m512 slope = _mm512_maskz_mul_ps(inner, d - d * update, all(scale));
                slope = _mm512_mask_add_ps(slope, _mm512_cmp_ps_mask(candidate, limit, _CMP_GT_OQ), slope, up);
                slope = _mm512_mask_add_ps(slope, _mm512_cmp_ps_mask(candidate, below, _CMP_LT_OQ), slope, down);
                narrow(d_candidate + map, slope);
            }
        }
        convolve(dc, M, candidate_weights, M, R, reset);
        for (int row = 0; row < R; row++) {
            float* d_reset = reset + (size_t)row * M;
            bfloat* d_gate = dg + (size_t)(row + 1) * 2 * M;
            if (row % (C + 1) == C) {
                memset(d_gate, 0, 2 * M);
                memset(d_reset, 0, 4 * M);
                continue;
            }
            for (int map = 0; map < M; map += LANES) {
                const __m512 d = load(d_reset + map), gate = widen(g + (size_t)row * 2 * M + map);
                narrow(d_gate + map, through_gate(gate, d * widen(x + (size_t)(row + 1) * M + map)));
                store(d_reset + map, d * gate);
            }
        }
        convolve(dg, 2 * M, gate_weights, M, R, spread);
        for (int row = 0; row < R; row++)
            for (int map = 0; map < M; map += LANES) {
                const float* carry = carried + (size_t)(row + 1) * M + map - carried_from(map, M);
                const size_t at = (size_t)row * M + map;
                store(memory + at + M, load(spread + at) + load(reset + at) + load(carry));
            }
    }
}
}
