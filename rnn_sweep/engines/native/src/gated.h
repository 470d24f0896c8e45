// What the cells with gates share. Their weights lie in groups of 16 units: a row of a group has the 16 columns of each of
// its four gates, [gate][unit], so that one tile holds all gates of a unit when its sums are complete.
#pragma once
#include "product.h"

constexpr long UNITS = 16, GATES = 4, ROW = UNITS * GATES;

// The parts of a tape row [h | 1 1 | x], in multiply-adds, and which gates see each of them.
template <class Cell, int M, class Num> INLINE void gates(const Num* a, long am, const Num* b, long hidden, long inputs, vec (&c)[M][4]) {
  constexpr long G = GROUP<Num>;
  tile<Cell::HIDDEN_FIRST, Cell::HIDDEN_LAST>(a, am, G, b, ROW * G, UNITS * G, hidden / G, c);
  tile<0, 4>(a + hidden, am, G, b + hidden * ROW, ROW * G, UNITS * G, 2 / G, c);
  tile<Cell::INPUT_FIRST, Cell::INPUT_LAST>(a + hidden + 2, am, G, b + (hidden + 2) * ROW, ROW * G, UNITS * G, inputs / G, c);
}

template <class Cell, int M, class Num, class F>
INLINE void gated_rows(const Num* a, long am, const Num* b, long hidden, long inputs, long m, long rows, long n, F f) {
  for (; m + M <= rows; m += M) {
    vec c[M][4], sums[M][4];
    clear(c);
    gates<Cell, M>(a + m * am, am, b, hidden, inputs, c);
    UNROLL for (int i = 0; i < M; i++) UNROLL for (int j = 0; j < 4; j++) sums[i][j] = c[i][j];
    _Pragma("GCC unroll 1") for (int i = 0; i < M; i++) f(m + i, n, sums[i]);
  }
  if constexpr (M > 1) gated_rows<Cell, fewer(M)>(a, am, b, hidden, inputs, m, rows, n, f);
}

// Calls f(m, n, sums) with the four gates' sums of W units, from unit n on, for each row of a.
template <class Cell, class Num, class F>
INLINE void gated_product(const Num* a, long am, const Num* b, long rows, long hidden, long inputs, F f) {
  const long K = hidden + 2 + inputs;
  for (long n = 0; n < hidden; n += W)
    gated_rows<Cell, WIDE>(a, am, b + n / UNITS * ROW * K + n % UNITS * GROUP<Num>, hidden, inputs, 0, rows, n, f);
}

// dw += zᵀ d, group by group, leaving out what a gate does not see.
template <class Cell, class Num>
INLINE void gated_gradient(const Num* z, long zs, const Num* d, long ds, long S, long hidden, long inputs, float* dw) {
  constexpr long G = GROUP<Num>;
  constexpr int HF = Cell::HIDDEN_FIRST, HL = Cell::HIDDEN_LAST, IF = Cell::INPUT_FIRST, IL = Cell::INPUT_LAST;
  const long K = hidden + 2 + inputs;
  for (long n = 0; n < hidden; n += W) {
    const Num* right = d + (n / UNITS * ROW + n % UNITS) * G;
    float* out = dw + n / UNITS * ROW * K + n % UNITS;
    if constexpr (HF == IF && HL == IL) {
      gradient_rows<HF, HL, WIDE, 4>(z, zs, right, ds, UNITS * G, S, 0, K, out, ROW, UNITS);
    } else {  // the first one multiplies the bias b_ih, the second b_hh
      gradient_rows<HF, HL, WIDE, 4>(z, zs, right, ds, UNITS * G, S, 0, hidden, out, ROW, UNITS);
      gradient_rows<IF, IL, 1, 4>(z, zs, right, ds, UNITS * G, S, hidden, hidden + 1, out, ROW, UNITS);
      gradient_rows<HF, HL, 1, 4>(z, zs, right, ds, UNITS * G, S, hidden + 1, hidden + 2, out, ROW, UNITS);
      gradient_rows<IF, IL, WIDE, 4>(z, zs, right, ds, UNITS * G, S, hidden + 2, K, out, ROW, UNITS);
    }
  }
}
