// The gated recurrent unit as in nn.GRU:
//
//     r, z = σ(W h_{t-1} + b + V x_t + c)   (each with weights of its own)
//     n = tanh(u + r ⊙ v),   u = W_in x_t + b_in,   v = W_hn h_{t-1} + b_hn
//     h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}
//
// and backwards, each δ being dh = ∂L/∂h_t times a factor that the forward pass keeps:
//
//     δ_u = dh ⊙ (1 - z)(1 - n²)   δ_v = δ_u ⊙ r   δ_r = δ_u ⊙ v r (1 - r)   δ_z = dh ⊙ (h_{t-1} - n) z (1 - z)
//     dh_{t-1} += dh ⊙ z + Wᵀ δ over v, r, z
//
// A row of the weights has the columns v, r, z, u: the first three see h, the last three see x.
#pragma once
#include "gated.h"

struct Gru {
  static constexpr int HIDDEN_FIRST = 0, HIDDEN_LAST = 3, INPUT_FIRST = 1, INPUT_LAST = 4;
  static constexpr long COLUMNS_PER_UNIT = GATES, PANEL_WIDTH = ROW, SAVED = 5;

  // state: h_{t-1} in single precision [rows, H], becomes h_t; saved: [rows, H / W, SAVED, W], or null.
  template <class Num>
  static void forward(const Num* z, long zs, Num* next, const Num* w, long rows, long hidden, long inputs, float* state, float* saved) {
    gated_product<Gru>(z, zs, w, rows, hidden, inputs, [&](long m, long n, const vec* sums) __attribute__((always_inline)) {
      const vec one = broadcast(1.f), v = sums[0];
      const vec r = sigmoid(sums[1]), update = sigmoid(sums[2]), fresh = tanh(fma(r, v, sums[3]));
      const vec change = load(state + m * hidden + n) - fresh, h = fma(update, change, fresh);
      store(next + m * zs + n, h);
      store(state + m * hidden + n, h);
      if (!saved) return;
      float* keep = saved + (m * hidden + n) * SAVED;
      const vec u = (one - update) * (one - fresh * fresh);
      store(keep, u * r);
      store(keep + W, u * v * r * (one - r));
      store(keep + 2 * W, change * update * (one - update));
      store(keep + 3 * W, u);
      store(keep + 4 * W, update);
    });
  }

  static Runs hidden_runs(long hidden) { return {hidden / UNITS, 3 * UNITS, ROW}; }
  static Runs input_runs(long hidden) { return {hidden / UNITS, 3 * UNITS, ROW}; }
  static constexpr long HIDDEN_OFFSET = 0, INPUT_OFFSET = UNITS;
  static long hidden_column(long n) { return n % ROW < 3 * UNITS ? n / ROW * 3 * UNITS + n % ROW : -1; }
  static long input_column(long n) { return n % ROW >= UNITS ? n / ROW * 3 * UNITS + n % ROW - UNITS : -1; }

  // carry: dh_{t+1} ⊙ z_{t+1} [rows, H], becomes dh ⊙ z.
  template <class Num>
  INLINE void backward(vec dh, long m, long n, const Num*, long, const float* saved, long hidden, float* carry, Num* delta, long ds) {
    const float* kept = saved + (m * hidden + n) * SAVED;
    dh = dh + load(carry + m * hidden + n);
    Num* d = delta + m * ds + n / UNITS * ROW + n % UNITS;
    UNROLL for (int gate = 0; gate < 4; gate++) store(d + gate * UNITS, dh * load(kept + gate * W));
    store(carry + m * hidden + n, dh * load(kept + 4 * W));
  }

  template <class Num> static void gradient(const Num* z, long zs, const Num* d, long ds, long S, long hidden, long inputs, float* dw) {
    gated_gradient<Gru>(z, zs, d, ds, S, hidden, inputs, dw);
  }
};
