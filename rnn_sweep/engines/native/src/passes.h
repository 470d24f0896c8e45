// A chunk of sequences through the recurrent layers, forwards and backwards.
#pragma once
#include "network.h"

struct Data {
  const void* x;      // [count, T, I], bytes or floats
  const void* y;      // int64 [count], or [count, T] where each step has an answer; float [count, outputs] of a regression
  int64_t bytes;      // whether x are bytes
  int64_t count;
  double scale;       // of x
};

// The sequences of a chunk: rows `rows` of `order`, or those from `first` on without one. `place` is the first one's place
// in its batch of `batch`, and `step` the optimiser steps before it: dropout masks are drawn for these.
struct Rows {
  const int64_t* order;
  long first, rows, place, batch;
  uint64_t step;
  long index(long m) const { return order ? order[m] : first + m; }
};

// ---- dropout ------------------------------------------------------------------------------------------------------
// Whether a number is kept is a hash of its place, so that nothing is stored and no order of drawing matters.
struct Dropout {
  uint32_t key0, key1, below;  // of 2^24
  float scale;
};

static Dropout make_dropout(const Shape& s, uint64_t step, long layer) {
  uint64_t h = s.dropout_seed;
  const uint64_t words[2] = {step, (uint64_t)layer};
  for (uint64_t word : words) {  // splitmix64
    h += 0x9e3779b97f4a7c15ull + word;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ull;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebull;
    h ^= h >> 31;
  }
  const double keep = 1 - s.dropout;
  return {(uint32_t)h, (uint32_t)(h >> 32), (uint32_t)(keep * 16777216.0 + 0.5), (float)(1 / keep)};
}

// 1 / keep or 0 for W numbers from number `at` on.
INLINE vec mask(const Dropout& d, uint32_t at) {
  uvec h = mix((lanes() + at) ^ d.key0);
  h = mix(h + d.key1) >> 8;
  return where((ivec)(h < d.below), broadcast(d.scale));
}

INLINE long step_of(const Plan& p, const Strand& t, long s) { return t.direction ? p.shape.steps - 1 - s : s; }

// ---- inputs of a step ---------------------------------------------------------------------------------------------
template <class Num> INLINE void fill_features(const Plan& p, const Data& data, const Rows& rows, long time, Num* x, long zs) {
  const long I = p.shape.inputs, T = p.shape.steps;
  const float scale = (float)data.scale;
  for (long m = 0; m < rows.rows; m++) {
    const long from = (rows.index(m) * T + time) * I;
    const uint8_t* bytes = (const uint8_t*)data.x + from;
    const float* floats = (const float*)data.x + from;
    Num* to = x + m * zs;
    if (I < W) {
      for (long i = 0; i < I; i++) set(to[i], (data.bytes ? bytes[i] : floats[i]) * scale);
      continue;
    }
    for (long i = 0;; i += W) {  // the last vector overlaps the one before
      if (i > I - W) i = I - W;
      store(to + i, (data.bytes ? load_bytes(bytes + i) : load(floats + i)) * broadcast(scale));
      if (i == I - W) break;
    }
  }
}

template <class Num> INLINE void fill_outputs(const Plan& p, Work<Num>& w, const Strand& t, const Rows& rows, long time, bool train, Num* x) {
  const long H = p.H, T = p.shape.steps;
  const bool drop = train && p.shape.dropout > 0;
  const Dropout d = make_dropout(p.shape, rows.step, t.layer);
  for (long direction = 0; direction < p.D; direction++) {
    const long lower = (t.layer - 1) * p.D + direction, zs = p.strand[lower].zs;
    const Num* h = w.z[lower] + ((direction ? T - 1 - time : time) + 1) * rows.rows * zs;
    for (long m = 0; m < rows.rows; m++) {
      const uint32_t at = (uint32_t)(((time * rows.batch + rows.place + m) * p.D + direction) * H);
      for (long n = 0; n < H; n += W) {
        vec v = load(h + m * zs + n);
        store(x + m * t.zs + direction * H + n, drop ? v * mask(d, at + (uint32_t)n) : v);
      }
    }
  }
}

// ---- forwards -----------------------------------------------------------------------------------------------------
template <class Cell, class Num>
static void forward_strand(const Plan& p, const Num* weights, Work<Num>& w, const Data& data, const Rows& rows, long i, bool train) {
  const Strand& t = p.strand[i];
  const long B = rows.rows, inputs = GROUP<Num> > 1 ? t.K_even - p.H - 2 : t.inputs;
  for (long m = 0; m < B; m++) memset(w.z[i] + m * t.zs, 0, p.H * sizeof(Num));
  memset(w.state, 0, B * p.H * sizeof(float));
  for (long s = 0; s < p.shape.steps; s++) {
    Num *z = w.z[i] + s * B * t.zs, *next = z + B * t.zs;
    if (t.layer) fill_outputs(p, w, t, rows, step_of(p, t, s), train, z + p.H + 2);
    else fill_features(p, data, rows, step_of(p, t, s), z + p.H + 2, t.zs);
    Cell::forward(z, t.zs, next, weights, B, p.H, inputs, w.state, train && p.saved ? w.saved[i] + s * B * p.H * p.saved : nullptr);
  }
}

// ---- backwards ----------------------------------------------------------------------------------------------------
// last: gradient of the last state [rows, D H], of the top layer, or null; above: of every output [T, rows, D H], or null.
template <class Cell, class Num>
static void backward_strand(const Plan& p, const Packs<Num>& packs, Work<Num>& w, const Rows& rows, long i, const float* last,
                            const float* above, float* gradient) {
  const Strand& t = p.strand[i];
  const long B = rows.rows, H = p.H, T = p.shape.steps, width = p.D * H, offset = t.direction * H;
  memset(w.carry, 0, B * H * sizeof(float));
  long filled = 0;
  for (long s = T - 1; s >= 0; s--) {
    const long slot = p.block - 1 - filled, time = step_of(p, t, s);
    Num* delta = w.delta + slot * B * p.ds;
    const Num* later = w.delta + (slot + 1) % p.block * B * p.ds;
    const Num* next = w.z[i] + (s + 1) * B * t.zs;
    const float* saved = p.saved ? w.saved[i] + s * B * H * p.saved : nullptr;
    const float* outer = above ? above + time * B * width + offset : s == T - 1 && last ? last + offset : nullptr;
    auto step = [&](long m, long n, vec dh) __attribute__((always_inline)) {
      if (outer) dh = dh + load(outer + m * width + n);
      Cell::backward(dh, m, n, next, t.zs, saved, H, w.carry, delta, p.ds);
    };
    if (s == T - 1) {
      for (long m = 0; m < B; m++) for (long n = 0; n < H; n += W) step(m, n, zero());
    } else {
      product(later + Cell::HIDDEN_OFFSET, p.ds, packs.hidden[i], B, H, Cell::hidden_runs(H), step);
    }
    if (t.layer) {
      float* below = w.below + time * B * width;
      product(delta + Cell::INPUT_OFFSET, p.ds, packs.below[i], B, width, Cell::input_runs(H),
              [&](long m, long n, vec v) __attribute__((always_inline)) {
                float* place = below + m * width + n;
                store(place, t.direction ? v + load(place) : v);
              });
    }
    filled++;
    if (filled < p.block && s > 0) continue;
    const Num* z = w.z[i] + s * B * t.zs;
    if constexpr (GROUP<Num> == 1) {
      Cell::gradient(z, t.zs, delta, p.ds, filled * B, H, t.inputs, gradient + t.weights);
    } else {
#if defined(__AVX512BF16__)
      interleave(z, filled * B, t.zs, t.zs, w.pairs_z);
      interleave(delta, filled * B, p.N, p.ds, w.pairs_d);
      Cell::gradient(w.pairs_z, 2 * t.zs, w.pairs_d, 2 * p.N, (filled * B + 1) / 2, H, t.inputs, gradient + t.weights);
#endif
    }
    filled = 0;
  }
}

template <class Num> static void apply_mask(const Plan& p, const Rows& rows, long layer, float* gradient) {
  const Dropout d = make_dropout(p.shape, rows.step, layer);
  const long width = p.D * p.H;
  for (long time = 0; time < p.shape.steps; time++)
    for (long m = 0; m < rows.rows; m++) {
      const uint32_t at = (uint32_t)((time * rows.batch + rows.place + m) * width);
      float* row = gradient + (time * rows.rows + m) * width;
      for (long n = 0; n < width; n += W) store(row + n, load(row + n) * mask(d, at + (uint32_t)n));
    }
}

template <class Num>
static void forward_all(const Plan& p, const float* parameters, const Packs<Num>& packs, Work<Num>& w, const Data& data, const Rows& rows, bool train) {
  for (long i = 0; i < p.strands; i++) {
    const Num* weights;
    if constexpr (GROUP<Num> == 1) weights = parameters + p.strand[i].weights;
    else weights = packs.forward[i];
    switch (p.shape.cell) {
      case CELL_RELU: forward_strand<Rnn<true>>(p, weights, w, data, rows, i, train); break;
      case CELL_TANH: forward_strand<Rnn<false>>(p, weights, w, data, rows, i, train); break;
      case CELL_LSTM: forward_strand<Lstm>(p, weights, w, data, rows, i, train); break;
      default: forward_strand<Gru>(p, weights, w, data, rows, i, train);
    }
  }
}

template <class Num> static void backward_all(const Plan& p, const Packs<Num>& packs, Work<Num>& w, const Rows& rows, float* gradient) {
  const float* last = p.shape.per_step ? nullptr : w.d_seen;
  const float* above = p.shape.per_step ? w.d_seen : nullptr;
  for (long layer = p.shape.layers - 1; layer >= 0; layer--) {
    for (long i = layer * p.D; i < (layer + 1) * p.D; i++) switch (p.shape.cell) {
        case CELL_RELU: backward_strand<Rnn<true>>(p, packs, w, rows, i, last, above, gradient); break;
        case CELL_TANH: backward_strand<Rnn<false>>(p, packs, w, rows, i, last, above, gradient); break;
        case CELL_LSTM: backward_strand<Lstm>(p, packs, w, rows, i, last, above, gradient); break;
        default: backward_strand<Gru>(p, packs, w, rows, i, last, above, gradient);
      }
    if (!layer) break;
    if (p.shape.dropout > 0) apply_mask<Num>(p, rows, layer, w.below);
    last = nullptr, above = w.below;
    float* swap = w.above;
    w.above = w.below, w.below = swap;
  }
}
