// The shape of a network, where its parameters lie, and the buffers that a few of its sequences need.
//
// A *strand* is one direction of one layer. A *chunk* is the sequences that are taken through the whole network together,
// few enough for a core's cache; a batch is cut into chunks in the same way for any number of threads.
#pragma once
#include "gru.h"
#include "lstm.h"
#include "rnn.h"

enum { CELL_RELU, CELL_TANH, CELL_LSTM, CELL_GRU };

struct Shape {
  int64_t cell, layers, directions, hidden, inputs, outputs, steps, per_step, regression, bf16, batch;
  uint64_t dropout_seed;
  double dropout;  // in [0, 1), between layers
};

constexpr long MAX_STRANDS = 64;
constexpr long CHUNK = 16, MOST_CHUNKS = 16;  // sequences of a chunk at least; chunks of a batch at most
constexpr long BLOCK_ROWS = 128;              // rows of δ that one pass over the weights' gradient adds up

INLINE long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

// Bump allocation; without a base it only measures.
struct Arena {
  char* base;
  long used;
  template <class T> T* take(long count) {
    T* place = base ? (T*)(base + used) : nullptr;
    used = up(used + count * (long)sizeof(T), 64);
    return place;
  }
};

struct Strand {
  long layer, direction;
  long inputs;      // x's columns of a tape row: the features, or the padded units of the layer below
  long K, K_even;   // rows of the weights: h, two biases, x
  long zs;          // numbers of a tape row
  long weights;     // offset in the parameters
};

struct Plan {
  Shape shape;
  long H, D;        // hidden units padded to a multiple of 16; directions
  long N;           // columns of a strand's weights
  long ds;          // numbers of a row of δ
  long C;           // outputs padded to a multiple of 16
  long strands, head, bias, parameters;  // offsets of the head's weights [D H, C] and bias [C]
  long saved;       // numbers that a step keeps for each unit
  long chunk, block;  // sequences, and steps whose δ are kept
  Strand strand[MAX_STRANDS];
};

static void make_plan(const Shape& s, Plan& p) {
  const bool gated = s.cell >= CELL_LSTM;
  p.shape = s;
  p.H = up(s.hidden, 16), p.D = s.directions, p.N = gated ? GATES * p.H : p.H, p.C = up(s.outputs, 16);
  p.ds = p.N + 32;  // not a power of two, so that rows do not fall on the same lines of a cache
  p.saved = s.cell == CELL_LSTM ? Lstm::SAVED : s.cell == CELL_GRU ? Gru::SAVED : 0;
  p.chunk = up(s.batch, MOST_CHUNKS) / MOST_CHUNKS;
  p.chunk = p.chunk < CHUNK ? CHUNK : up(p.chunk, 8);
  p.block = BLOCK_ROWS / p.chunk < 2 ? 2 : BLOCK_ROWS / p.chunk;
  if (p.block > s.steps + 1) p.block = s.steps + 1;
  p.strands = s.layers * s.directions;
  long offset = 0;
  for (long i = 0; i < p.strands; i++) {
    Strand& t = p.strand[i];
    t.layer = i / p.D, t.direction = i % p.D;
    t.inputs = t.layer ? p.D * p.H : s.inputs;
    t.K = p.H + 2 + t.inputs, t.K_even = up(t.K, 2), t.zs = up(t.K, 16);
    if (t.zs % 256 == 0) t.zs += 16;
    t.weights = offset, offset += up(t.K * p.N, 16);
  }
  p.head = offset, offset += p.D * p.H * p.C;
  p.bias = offset, offset += p.C;
  p.parameters = offset;
}

// What products read beside the parameters: the weights transposed for the way back, in bfloat16 also forwards.
template <class Num> struct Packs {
  Num *forward[MAX_STRANDS], *hidden[MAX_STRANDS], *below[MAX_STRANDS];
  float* head;  // [C, D H]
};

INLINE long gate_rows(const Plan& p) { return p.shape.cell == CELL_GRU ? 3 * p.H : p.N; }

template <class Num> static void carve_packs(const Plan& p, Arena& arena, Packs<Num>& packs) {
  for (long i = 0; i < p.strands; i++) {
    const Strand& t = p.strand[i];
    packs.forward[i] = GROUP<Num> > 1 ? arena.take<Num>(t.K_even * p.N) : nullptr;
    packs.hidden[i] = arena.take<Num>(gate_rows(p) * p.H);
    packs.below[i] = t.layer ? arena.take<Num>(gate_rows(p) * p.D * p.H) : nullptr;
  }
  packs.head = arena.take<float>(p.C * p.D * p.H);
}

// Buffers of one thread.
template <class Num> struct Work {
  Num* z[MAX_STRANDS];        // tapes [T + 1, rows, zs] of rows [h_{t-1} | 1 1 | x_t | 0 …]
  float* saved[MAX_STRANDS];  // [T, rows, H / W, SAVED, W]
  float *state, *carry;       // [rows, H]
  Num* delta;                 // [block, rows, ds]
  Num *pairs_z, *pairs_d;     // in bfloat16: pairs of rows of a block
  float *above, *below;       // [T, rows, D H], gradients of a layer's outputs, and of its inputs
  float *seen, *answers, *d_seen;  // the head's: [n, D H], [n, C], [n, D H], n = rows or T · rows
};

template <class Num> static void carve_work(const Plan& p, Arena& arena, Work<Num>& w, bool train) {
  const long T = p.shape.steps, rows = p.chunk, n = p.shape.per_step ? T * rows : rows, width = p.D * p.H;
  long most_z = 0;
  for (long i = 0; i < p.strands; i++) {
    w.z[i] = arena.take<Num>((T + 1) * rows * p.strand[i].zs);
    w.saved[i] = train && p.saved ? arena.take<float>(T * rows * p.H * p.saved) : nullptr;
    most_z = p.strand[i].zs > most_z ? p.strand[i].zs : most_z;
  }
  w.state = arena.take<float>(rows * p.H), w.carry = arena.take<float>(rows * p.H);
  w.seen = arena.take<float>(n * width), w.answers = arena.take<float>(n * p.C);
  if (!train) return;
  w.delta = arena.take<Num>(p.block * rows * p.ds);
  w.pairs_z = GROUP<Num> > 1 ? arena.take<Num>((p.block * rows + 1) * most_z) : nullptr;
  w.pairs_d = GROUP<Num> > 1 ? arena.take<Num>((p.block * rows + 1) * p.N) : nullptr;
  w.d_seen = arena.take<float>(n * width);
  const bool deep = p.shape.layers > 1;
  w.above = deep ? arena.take<float>(T * rows * width) : nullptr;
  w.below = deep ? arena.take<float>(T * rows * width) : nullptr;
}

// Tape rows begin as zeros with two columns of ones, which the biases multiply.
template <class Num> static void clear_tapes(const Plan& p, Work<Num>& w) {
  for (long i = 0; i < p.strands; i++) {
    const Strand& t = p.strand[i];
    const long rows = (p.shape.steps + 1) * p.chunk;
    memset(w.z[i], 0, rows * t.zs * sizeof(Num));
    for (long r = 0; r < rows; r++) set(w.z[i][r * t.zs + p.H], 1.f), set(w.z[i][r * t.zs + p.H + 1], 1.f);
  }
}

// Packs columns [n0, n1) of a strand's weights, multiples of 16.
template <class Cell, class Num>
static void pack_strand(const Plan& p, const float* w, const Strand& t, Packs<Num>& packs, long i, long n0, long n1) {
  transpose(w, t.K, p.N, Cell::PANEL_WIDTH, 0, p.H, n0, n1, packs.hidden[i], gate_rows(p), Cell::hidden_column);
  if (t.layer)
    transpose(w, t.K, p.N, Cell::PANEL_WIDTH, p.H + 2, p.D * p.H, n0, n1, packs.below[i], gate_rows(p), Cell::input_column);
#if defined(__AVX512BF16__)
  if constexpr (GROUP<Num> > 1)
    for (long n = n0; n < n1; n += 16) {
      const long first = n / Cell::PANEL_WIDTH * Cell::PANEL_WIDTH;
      const long width = p.N - first < Cell::PANEL_WIDTH ? p.N - first : Cell::PANEL_WIDTH;
      const float* from = w + first * t.K + n - first;
      Num* to = packs.forward[i] + first * t.K_even + (n - first) * 2;
      for (long k = 0; k < t.K_even; k += 2)
        store_pairs(to + k * width, load(from + k * width), k + 1 < t.K ? load(from + (k + 1) * width) : zero());
    }
#endif
}

template <class Num> static void pack_columns(const Plan& p, const float* parameters, Packs<Num>& packs, long i, long n0, long n1) {
  const Strand& t = p.strand[i];
  const float* w = parameters + t.weights;
  if (p.shape.cell == CELL_LSTM) pack_strand<Lstm>(p, w, t, packs, i, n0, n1);
  else if (p.shape.cell == CELL_GRU) pack_strand<Gru>(p, w, t, packs, i, n0, n1);
  else pack_strand<Rnn<true>>(p, w, t, packs, i, n0, n1);
}

static void pack_head(const Plan& p, const float* parameters, float* out) {
  const long width = p.D * p.H;
  transpose(parameters + p.head, width, p.C, PANEL, 0, width, 0, p.C, out, p.C, [](long n) { return n; });
}
