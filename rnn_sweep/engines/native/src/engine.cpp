// The native engine: many training steps, or an evaluation, of one network in one call. Plain C interface for ctypes.
//
// All sizes are checked by the caller (rnn_sweep/engines/native/engine.py); memory is the caller's, nothing is allocated.
#include "head.h"
#include "optimizer.h"
#include "team.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

constexpr long SQUARES = 4096;  // numbers whose squares are added up together, for the norm

struct Stats {  // of an epoch so far
  double loss, hits, norm;  // sums over the sequences, and of the norms over the steps
  int64_t steps;            // optimiser steps
};

struct Training {
  Shape shape;
  Data data;
  Optimizer optimizer;
  float *parameters, *gradient, *state0, *state1, *state2;
  const int64_t* order;          // [sequences]
  const double *lr, *momentum;   // [steps]
  double clip;                   // largest norm; infinite is none
  int64_t sequences, done;       // of the epoch; optimiser steps before it
  int64_t until;                 // steps of the epoch after which this call returns
  int64_t threads;
  char *shared, *own;            // workspaces, see rnn_sweep_sizes
  int64_t own_bytes;             // of each thread
  Stats stats;                   // goes on from what it holds
};

// What the threads of a training share.
template <class Num> struct Step {
  Training* call;
  Plan plan;
  Packs<Num> packs;
  Team team;
  float* parts;        // [chunks, parameters], gradients of the chunks
  Sum* sums;           // [chunks]
  double* squares;     // [⌈parameters / SQUARES⌉]
  int64_t first, rows, chunks;  // of the current batch
  double norm;
  bool over;
};

INLINE long most_chunks(const Plan& p) { return (p.shape.batch + p.chunk - 1) / p.chunk; }

template <class Num> static void carve_shared(Step<Num>& s, Arena& arena) {
  carve_packs(s.plan, arena, s.packs);
  s.parts = arena.take<float>(most_chunks(s.plan) * s.plan.parameters);
  s.sums = arena.take<Sum>(most_chunks(s.plan));
  s.squares = arena.take<double>((s.plan.parameters + SQUARES - 1) / SQUARES);
}

template <class Num> static void start_batch(Step<Num>& s, int64_t first) {
  const Training& call = *s.call;
  s.first = first, s.rows = call.sequences - first < s.plan.shape.batch ? call.sequences - first : s.plan.shape.batch;
  s.chunks = (s.rows + s.plan.chunk - 1) / s.plan.chunk;
  s.team.next = 0;
}

// Columns of the strands' weights, 16 at a time, dealt out to the threads; the head is the last one's.
template <class Num> static void pack_share(Step<Num>& s, int64_t thread) {
  const Plan& p = s.plan;
  const long blocks = p.N / 16;
  for (long i = 0; i < p.strands; i++) {
    const long from = blocks * thread / s.team.count, to = blocks * (thread + 1) / s.team.count;
    pack_columns(p, s.call->parameters, s.packs, i, from * 16, to * 16);
  }
  if (thread == s.team.count - 1) pack_head(p, s.call->parameters, s.packs.head);
}

template <class Num> static void train_chunk(Step<Num>& s, Work<Num> w, int64_t chunk) {
  const Training& call = *s.call;
  const Plan& p = s.plan;
  const long place = chunk * p.chunk, rows = s.rows - place < p.chunk ? s.rows - place : p.chunk;
  float* gradient = s.parts + chunk * p.parameters;
  const Rows these = {call.order + s.first + place, 0, rows, place, s.rows, (uint64_t)(call.done + call.stats.steps)};
  memset(gradient, 0, p.parameters * sizeof(float));
  forward_all(p, call.parameters, s.packs, w, call.data, these, true);
  s.sums[chunk] = answer(p, call.parameters, w, call.data, these);
  head_backward(p, s.packs.head, w, rows, gradient);
  backward_all(p, s.packs, w, these, gradient);
}

// Adds the chunks' gradients of numbers [from, to) up, in order, and their squares, in 16 sums.
template <class Num> static void add_parts(Step<Num>& s, long from, long to) {
  float* gradient = s.call->gradient;
  const long P = s.plan.parameters;
  vec sums[16 / W];
  for (long j = 0; j < 16 / W; j++) sums[j] = zero();
  for (long i = from; i < to; i += 16)
    for (long j = 0; j < 16 / W; j++) {
      const long at = i + j * W;
      vec g = load(s.parts + at);
      for (long c = 1; c < s.chunks; c++) g = g + load(s.parts + c * P + at);
      store(gradient + at, g);
      sums[j] = fma(g, g, sums[j]);
    }
  float each[16];
  for (long j = 0; j < 16 / W; j++) store(each + j * W, sums[j]);
  double total = 0;
  for (float x : each) total += x;
  s.squares[from / SQUARES] = total;
}

template <class Num> static void end_batch(Step<Num>& s) {
  Stats& stats = s.call->stats;
  double squares = 0, loss = 0, hits = 0;
  for (long i = 0; i < (s.plan.parameters + SQUARES - 1) / SQUARES; i++) squares += s.squares[i];
  for (long c = 0; c < s.chunks; c++) loss += s.sums[c].loss, hits += s.sums[c].hits;
  s.norm = __builtin_sqrt(squares);
  stats.loss += loss, stats.hits += hits, stats.norm += s.norm;
  s.over = !(stats.loss - stats.loss == 0);  // NaN or infinite
}

template <class Num> static void train_thread(void* pointer, int64_t thread) {
  Step<Num>& s = *(Step<Num>*)pointer;
  Training& call = *s.call;
  const Plan& p = s.plan;
  Arena arena = {call.own + thread * call.own_bytes, 0};
  Work<Num> w;
  carve_work(p, arena, w, true);
  clear_tapes(p, w);
  // The first barrier comes before anything that depends on the number of threads, see run_together.
  meet(s.team, [] {});
  pack_share(s, thread);
  meet(s.team, [&] { start_batch(s, call.stats.steps * p.shape.batch); });
  const long blocks = (p.parameters + SQUARES - 1) / SQUARES;
  while (true) {
    for (int64_t chunk; (chunk = take(s.team)) < s.chunks;) train_chunk(s, w, chunk);
    meet(s.team, [] {});
    const long first = blocks * thread / s.team.count, last = blocks * (thread + 1) / s.team.count;
    for (long i = first; i < last; i++) add_parts(s, i * SQUARES, (i + 1) * SQUARES < p.parameters ? (i + 1) * SQUARES : p.parameters);
    meet(s.team, [&] { end_batch(s); });
    if (s.over) return;
    const int64_t step = call.stats.steps;
    double scale = call.clip / (s.norm + 1e-6);
    if (scale > 1) scale = 1;
    const long from = first * SQUARES, to = last * SQUARES < p.parameters ? last * SQUARES : p.parameters;
    optimize(call.optimizer, call.done + step + 1, call.lr[step], call.momentum ? call.momentum[step] : call.optimizer.momentum, (float)scale,
             call.gradient, call.parameters, call.state0, call.state1, call.state2, from, to);
    meet(s.team, [&] {
      call.stats.steps++;
      start_batch(s, s.first + s.rows);
    });
    if (s.rows <= 0 || call.stats.steps >= call.until) return;
    pack_share(s, thread);
    meet(s.team, [] {});
  }
}

template <class Num> static int32_t train(Training* call) {
  Step<Num> s;
  s.call = call;
  make_plan(call->shape, s.plan);
  Arena arena = {call->shared, 0};
  carve_shared(s, arena);
  s.team = {call->threads, 0, 0, 0};
  s.over = false;
  run_together(train_thread<Num>, &s, s.team);
  return s.over;
}

// ---- evaluation -----------------------------------------------------------------------------------------------
struct Evaluation {
  Shape shape;
  Data data;
  const float* parameters;
  int64_t threads;
  char *shared, *own;
  int64_t own_bytes;
  Sum* sums;  // [⌈count / chunk⌉], one for each chunk
  double loss, hits;
};

template <class Num> struct Pass {
  Evaluation* call;
  Plan plan;
  Packs<Num> packs;
  Team team;
};

template <class Num> static void evaluate_thread(void* pointer, int64_t thread) {
  Pass<Num>& s = *(Pass<Num>*)pointer;
  Evaluation& call = *s.call;
  const Plan& p = s.plan;
  Arena arena = {call.own + thread * call.own_bytes, 0};
  Work<Num> w;
  carve_work(p, arena, w, false);
  clear_tapes(p, w);
  meet(s.team, [] {});
  if (thread == 0 && GROUP<Num> > 1)
    for (long i = 0; i < p.strands; i++) pack_columns(p, call.parameters, s.packs, i, 0, p.N);
  meet(s.team, [] {});
  for (int64_t chunk; (chunk = take(s.team)) * p.chunk < call.data.count;) {
    const long first = chunk * p.chunk, rows = call.data.count - first < p.chunk ? call.data.count - first : p.chunk;
    const Rows these = {nullptr, first, rows, 0, rows, 0};
    forward_all(p, call.parameters, s.packs, w, call.data, these, false);
    call.sums[chunk] = answer(p, call.parameters, w, call.data, these);
  }
}

template <class Num> static int32_t evaluate(Evaluation* call) {
  Pass<Num> s;
  s.call = call;
  make_plan(call->shape, s.plan);
  Arena arena = {call->shared, 0};
  carve_packs(s.plan, arena, s.packs);
  s.team = {call->threads, 0, 0, 0};
  run_together(evaluate_thread<Num>, &s, s.team);
  call->loss = call->hits = 0;
  for (long c = 0; c * s.plan.chunk < call->data.count; c++) call->loss += call->sums[c].loss, call->hits += call->sums[c].hits;
  return 0;
}

// ---- interface ------------------------------------------------------------------------------------------------
template <class Num> static void measure(const Plan& p, int64_t* out) {
  Arena packs = {nullptr, 0}, shared = {nullptr, 0}, work = {nullptr, 0}, reading = {nullptr, 0};
  Step<Num> step;
  Packs<Num> own;
  Work<Num> w;
  step.plan = p;
  carve_packs(p, packs, own);
  carve_shared(step, shared);
  carve_work(p, work, w, true);
  carve_work(p, reading, w, false);
  out[0] = shared.used, out[1] = packs.used, out[2] = work.used, out[3] = reading.used;
}

EXPORT int32_t rnn_sweep_abi(void) { return 1; }

EXPORT int32_t rnn_sweep_bf16(void) {
#if defined(__AVX512BF16__)
  return 1;
#else
  return 0;
#endif
}

// The most that products could reach: multiply-adds between registers, `rounds` times; returns the operations done.
// `numbers`: 64 floats, read and overwritten.
template <class Num> static double multiply_adds(int64_t rounds, float* numbers) {
  vec c[TALL][2];
  clear(c);
  tile<0, 2>((const Num*)numbers, 0, 0, (const Num*)numbers, 0, 0, rounds, c);
  vec sum = zero();
  UNROLL for (int m = 0; m < TALL; m++) UNROLL for (int j = 0; j < 2; j++) sum = sum + c[m][j];
  store(numbers, sum);
  return 2.0 * rounds * TALL * 2 * W * GROUP<Num>;
}

EXPORT double rnn_sweep_multiply_adds(int64_t rounds, int32_t in_bf16, float* numbers) {
#if defined(__AVX512BF16__)
  if (in_bf16) return multiply_adds<bf16>(rounds, numbers);
#endif
  (void)in_bf16;
  return multiply_adds<float>(rounds, numbers);
}

// Sizes: bytes shared by the threads in training and in evaluation, bytes of each thread in both; then the parameters,
// the offset of the head's weights and of its bias, the padded units and outputs, the sequences of a chunk, and for
// each strand the offset of its weights.
EXPORT void rnn_sweep_sizes(const Shape* shape, int64_t* out) {
  Plan p;
  make_plan(*shape, p);
#if defined(__AVX512BF16__)
  if (shape->bf16) measure<bf16>(p, out);
  else
#endif
    measure<float>(p, out);
  out[4] = p.parameters, out[5] = p.head, out[6] = p.bias, out[7] = p.H, out[8] = p.C, out[9] = p.chunk;
  for (long i = 0; i < p.strands; i++) out[10 + i] = p.strand[i].weights;
}

// Trains; 1 where the loss became NaN or infinite, which ends the call at once.
EXPORT int32_t rnn_sweep_train(Training* call) {
#if defined(__AVX512BF16__)
  if (call->shape.bf16) return train<bf16>(call);
#endif
  return train<float>(call);
}

EXPORT int32_t rnn_sweep_evaluate(Evaluation* call) {
#if defined(__AVX512BF16__)
  if (call->shape.bf16) return evaluate<bf16>(call);
#endif
  return evaluate<float>(call);
}
