// Matrix products. Each number of a result is one chain of fused multiply-adds in the order of the inner index, so that
// the shape of a tile decides nothing but speed.
//
// A right-hand matrix b [K, N], N a multiple of 16, lies in panels of 32 columns (the last may have 16), row after row
// within a panel: a product reads it from beginning to end. In bfloat16 the inner index goes in pairs, because one
// instruction multiplies two pairs and adds both to a float: rows k and k + 1 of a panel are interleaved.
#pragma once
#include "vector.h"

constexpr long PANEL = 32;
constexpr int TALL = REGISTERS == 32 ? 8 : 6;  // rows of a tile that is two vectors wide
constexpr int WIDE = REGISTERS == 32 ? 6 : 3;  // rows of a tile that is four vectors wide
constexpr int fewer(int rows) { return rows > 4 ? 4 : rows == 4 ? 2 : rows - 1; }  // rows of the next smaller tile

template <class Num> constexpr long GROUP = 1;  // inner indices that one multiply-add takes
template <> constexpr long GROUP<bf16> = 2;

INLINE vec multiply_add(const float* a, vec b, vec c) { return fma(broadcast(*a), b, c); }
INLINE vec operand(const float* p) { return load(p); }
#if defined(__AVX512BF16__)
INLINE vec multiply_add(const bf16* a, __m512i b, vec c) {
  int32_t pair;
  memcpy(&pair, a, 4);
  return _mm512_dpbf16_ps(c, (__m512bh)_mm512_set1_epi32(pair), (__m512bh)b);
}
INLINE __m512i operand(const bf16* p) { return _mm512_loadu_si512(p); }
#endif

// Where b(k, n) lies in panels.
INLINE long place(long k, long n, long K, long N, long group = 1) {
  long first = n / PANEL * PANEL, width = N - first < PANEL ? N - first : PANEL;
  return first * K + k / group * width * group + (n - first) * group + k % group;
}

// c[m][j] += Σ_k a(m, k) b(k, j) for FIRST <= j < LAST, with a(m, k) at a + m·am + k·ak and the vectors of row k at
// b + k·bk + j·bj; k counts groups.
template <int FIRST, int LAST, int M, int V, class Num>
INLINE void tile(const Num* a, long am, long ak, const Num* b, long bk, long bj, long K, vec (&c)[M][V]) {
  for (long k = 0; k < K; k++) {
    decltype(operand(b)) row[V];
    UNROLL for (int j = FIRST; j < LAST; j++) row[j] = operand(b + k * bk + j * bj);
    UNROLL for (int m = 0; m < M; m++)
      UNROLL for (int j = FIRST; j < LAST; j++) c[m][j] = multiply_add(a + m * am + k * ak, row[j], c[m][j]);
  }
}

template <int M, int V> INLINE void clear(vec (&c)[M][V]) {
  UNROLL for (int m = 0; m < M; m++) UNROLL for (int j = 0; j < V; j++) c[m][j] = zero();
}

// The inner index of a product: `count` runs of `length` numbers of a row of a, `stride` apart.
struct Runs {
  long count, length, stride;
};

template <int M, int V, class Num, class F>
INLINE void product_rows(const Num* a, long am, const Num* b, long width, Runs k, long m, long rows, long n, F f) {
  constexpr long G = GROUP<Num>;
  for (; m + M <= rows; m += M) {
    vec c[M][V];
    clear(c);
    const Num* run = b;
    for (long i = 0; i < k.count; i++, run += k.length * width)
      tile<0, V>(a + m * am + i * k.stride, am, G, run, width * G, W * G, k.length / G, c);
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int j = 0; j < V; j++) f(m + i, n + j * W, c[i][j]);
  }
  if constexpr (M > 1) product_rows<fewer(M), V>(a, am, b, width, k, m, rows, n, f);
}

// Calls f(m, n, v) with W numbers of a b, from column n on, for every row m; rows of a are am apart, b is in panels.
template <class Num, class F> INLINE void product(const Num* a, long am, const Num* b, long rows, long N, Runs k, F f) {
  constexpr long G = GROUP<Num>;
  for (long first = 0; first < N; first += PANEL) {
    const long width = N - first < PANEL ? N - first : PANEL;
    const Num* panel = b + first * k.count * k.length;
    for (long n = 0; n < width;) {
      if (n + 2 * W <= width) {
        product_rows<TALL, 2>(a, am, panel + n * G, width, k, 0, rows, first + n, f);
        n += 2 * W;
      } else {
        product_rows<TALL, 1>(a, am, panel + n * G, width, k, 0, rows, first + n, f);
        n += W;
      }
    }
  }
}

template <int FIRST, int LAST, int M, int V, class Num>
INLINE void gradient_rows(const Num* z, long zs, const Num* d, long ds, long dj, long S, long k, long K, float* dw, long width, long step) {
  for (; k + M <= K; k += M) {
    vec c[M][V];
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int j = FIRST; j < LAST; j++) c[i][j] = load(dw + (k + i) * width + j * step);
    tile<FIRST, LAST>(z + k * GROUP<Num>, GROUP<Num>, zs, d, ds, dj, S, c);
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int j = FIRST; j < LAST; j++) store(dw + (k + i) * width + j * step, c[i][j]);
  }
  if constexpr (M > 1) gradient_rows<FIRST, LAST, fewer(M), V>(z, zs, d, ds, dj, S, k, K, dw, width, step);
}

// dw(k, n) += Σ_s z[s, k] d[s, n] for k < K, n < N, dw in panels; rows of z and d are zs and ds apart. In bfloat16 z and d
// hold pairs of rows (see `interleave`); S, zs and ds are those of pairs.
template <class Num> INLINE void weight_gradient(const Num* z, long zs, const Num* d, long ds, long S, long K, long N, float* dw) {
  constexpr long G = GROUP<Num>;
  for (long first = 0; first < N; first += PANEL) {
    const long width = N - first < PANEL ? N - first : PANEL;
    for (long n = 0; n < width;) {
      float* out = dw + first * K + n;
      const Num* right = d + (first + n) * G;
      if (n + 2 * W <= width) {
        gradient_rows<0, 2, TALL, 2>(z, zs, right, ds, W * G, S, 0, K, out, width, W);
        n += 2 * W;
      } else {
        gradient_rows<0, 1, TALL, 1>(z, zs, right, ds, W * G, S, 0, K, out, width, W);
        n += W;
      }
    }
  }
}

// Rows [row, row + rows) and columns [n0, n1) of w, transposed: out(to(n), k) = w(row + k, n). w has K rows in panels of
// `panel` columns (the last may be narrower), N columns in all; out has `inner` rows and `rows` columns, in panels, too.
// `to` gives the inner index that a column becomes, or -1 for none. rows is a multiple of 16.
template <class Num, class F>
INLINE void transpose(const float* w, long K, long N, long panel, long row, long rows, long n0, long n1, Num* out, long inner, F to) {
  for (long n = n0; n < n1; n++) {
    const long k = to(n), first = n / panel * panel, width = N - first < panel ? N - first : panel;
    if (k < 0) continue;
    const float* column = w + first * K + row * width + n - first;
    for (long j = 0; j < rows; j += 16) {
      Num* at = out + place(k, j, inner, rows, GROUP<Num>);
      UNROLL for (int i = 0; i < 16; i++) set(at[i * GROUP<Num>], column[(j + i) * width]);
    }
  }
}

#if defined(__AVX512BF16__)
INLINE void store_pairs(bf16* out, vec low, vec high) {
  __m512i a = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low)), b = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
  _mm512_storeu_si512(out, _mm512_or_si512(a, _mm512_slli_epi32(b, 16)));
}

// Rows [S, ld] to pairs of rows [⌈S / 2⌉, C, 2]; a missing last row is zero. C is a multiple of 16.
static void interleave(const bf16* in, long S, long C, long ld, bf16* out) {
  for (long s = 0; s < S; s += 2)
    for (long c = 0; c < C; c += 16) {
      __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(in + s * ld + c))), high = _mm512_setzero_si512();
      if (s + 1 < S) high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)(in + (s + 1) * ld + c)));
      _mm512_storeu_si512(out + s / 2 * C * 2 + c * 2, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}
#endif
