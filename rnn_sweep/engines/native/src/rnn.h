// The plain cell of nn.RNN, f = relu or tanh:
//
//     h_t = f(a_t),   a_t = W_hh h_{t-1} + b_hh + W_ih x_t + b_ih
//
// and backwards, with dh_t = ∂L/∂h_t from the head or the layer above and from step t + 1:
//
//     δ_t = dh_t ⊙ f'(a_t),   relu' = [h_t > 0],   tanh' = 1 - h_t²
//     dh_{t-1} += W_hhᵀ δ_t,   dx_t = W_ihᵀ δ_t,   dW = Σ_t δ_t [h_{t-1} | 1 | 1 | x_t]ᵀ
#pragma once
#include "product.h"

template <bool RELU> struct Rnn {
  static constexpr long COLUMNS_PER_UNIT = 1, PANEL_WIDTH = PANEL, SAVED = 0;

  // z: rows [h | 1 1 | x]; next: the rows of step t + 1, whose h is set.
  template <class Num>
  static void forward(const Num* z, long zs, Num* next, const Num* w, long rows, long hidden, long inputs, float*, float*) {
    product(z, zs, w, rows, hidden, Runs{1, hidden + 2 + inputs, 0},
            [&](long m, long n, vec a) __attribute__((always_inline)) { store(next + m * zs + n, RELU ? relu(a) : tanh(a)); });
  }

  // The inner index of products with δ: all of it sees h, and all of it sees x.
  static Runs hidden_runs(long hidden) { return {1, hidden, 0}; }
  static Runs input_runs(long hidden) { return {1, hidden, 0}; }
  static constexpr long HIDDEN_OFFSET = 0, INPUT_OFFSET = 0;
  static long hidden_column(long n) { return n; }
  static long input_column(long n) { return n; }

  // From dh, W numbers of row m from unit n on, to δ.
  template <class Num>
  INLINE void backward(vec dh, long m, long n, const Num* next, long zs, const float*, long, float*, Num* delta, long ds) {
    const vec h = load(next + m * zs + n);
    store(delta + m * ds + n, RELU ? where((ivec)(h > zero()), dh) : dh * (broadcast(1.f) - h * h));
  }

  template <class Num> static void gradient(const Num* z, long zs, const Num* d, long ds, long S, long hidden, long inputs, float* dw) {
    weight_gradient(z, zs, d, ds, S, hidden + 2 + inputs, hidden, dw);
  }
};
