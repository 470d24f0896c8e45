// Long short-term memory as in nn.LSTM:
//
//     i, f, o = σ(W h_{t-1} + b + V x_t + c),   g = tanh(…)   (each with weights of its own)
//     c_t = f ⊙ c_{t-1} + i ⊙ g,   h_t = o ⊙ tanh c_t
//
// and backwards, with dh = ∂L/∂h_t and dc = ∂L/∂c_t:
//
//     dc  = dc_{t+1} ⊙ f_{t+1} + dh ⊙ o (1 - tanh² c_t)
//     δ_i = dc ⊙ g i (1 - i)   δ_f = dc ⊙ c_{t-1} f (1 - f)   δ_g = dc ⊙ i (1 - g²)   δ_o = dh ⊙ tanh(c_t) o (1 - o)
//
// The forward pass keeps what dh and dc are multiplied by.
#pragma once
#include "gated.h"

struct Lstm {
  static constexpr int HIDDEN_FIRST = 0, HIDDEN_LAST = 4, INPUT_FIRST = 0, INPUT_LAST = 4;
  static constexpr long COLUMNS_PER_UNIT = GATES, PANEL_WIDTH = ROW, SAVED = 6;

  // cell: c_{t-1} [rows, H], becomes c_t; saved: [rows, H / W, SAVED, W], or null.
  template <class Num>
  static void forward(const Num* z, long zs, Num* next, const Num* w, long rows, long hidden, long inputs, float* cell, float* saved) {
    gated_product<Lstm>(z, zs, w, rows, hidden, inputs, [&](long m, long n, const vec* sums) __attribute__((always_inline)) {
      const vec one = broadcast(1.f);
      const vec i = sigmoid(sums[0]), f = sigmoid(sums[1]), g = tanh(sums[2]), o = sigmoid(sums[3]);
      const vec before = load(cell + m * hidden + n), c = fma(f, before, i * g), tanh_c = tanh(c);
      store(next + m * zs + n, o * tanh_c);
      store(cell + m * hidden + n, c);
      if (!saved) return;
      float* keep = saved + (m * hidden + n) * SAVED;
      store(keep, g * i * (one - i));
      store(keep + W, before * f * (one - f));
      store(keep + 2 * W, i * (one - g * g));
      store(keep + 3 * W, tanh_c * o * (one - o));
      store(keep + 4 * W, o * (one - tanh_c * tanh_c));
      store(keep + 5 * W, f);
    });
  }

  static Runs hidden_runs(long hidden) { return {1, GATES * hidden, 0}; }
  static Runs input_runs(long hidden) { return {1, GATES * hidden, 0}; }
  static constexpr long HIDDEN_OFFSET = 0, INPUT_OFFSET = 0;
  static long hidden_column(long n) { return n; }
  static long input_column(long n) { return n; }

  // carry: dc_{t+1} ⊙ f_{t+1} [rows, H], becomes dc ⊙ f.
  template <class Num>
  INLINE void backward(vec dh, long m, long n, const Num*, long, const float* saved, long hidden, float* carry, Num* delta, long ds) {
    const float* kept = saved + (m * hidden + n) * SAVED;
    const vec dc = fma(dh, load(kept + 4 * W), load(carry + m * hidden + n));
    Num* d = delta + m * ds + n / UNITS * ROW + n % UNITS;
    store(d, dc * load(kept));
    store(d + UNITS, dc * load(kept + W));
    store(d + 2 * UNITS, dc * load(kept + 2 * W));
    store(d + 3 * UNITS, dh * load(kept + 3 * W));
    store(carry + m * hidden + n, dc * load(kept + 5 * W));
  }

  template <class Num> static void gradient(const Num* z, long zs, const Num* d, long ds, long S, long hidden, long inputs, float* dw) {
    gated_gradient<Lstm>(z, zs, d, ds, S, hidden, inputs, dw);
  }
};
