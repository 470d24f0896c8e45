// The linear head and the loss.
//
//     answer = W s + b for what the head sees, s: the last state, or that of each step
//     cross-entropy:  ℓ = log Σ_c e^{answer_c} - answer_y,   ∂ℓ/∂answer = softmax(answer) - onehot(y)
//     squared error:  ℓ = mean (answer - y)²,                ∂ℓ/∂answer = 2 (answer - y) / outputs
#pragma once
#include "passes.h"

struct Sum {
  double loss;  // of a sequence, summed
  double hits;  // sequences whose class was found; a fraction of one for each step where each has an answer
};

template <class Num> static void gather_seen(const Plan& p, Work<Num>& w, long B) {
  const long H = p.H, T = p.shape.steps, width = p.D * H;
  for (long direction = 0; direction < p.D; direction++) {
    const long i = (p.shape.layers - 1) * p.D + direction, zs = p.strand[i].zs;
    for (long time = p.shape.per_step ? 0 : T - 1; time < T; time++) {
      const long step = p.shape.per_step && direction ? T - 1 - time : time;
      float* to = w.seen + (p.shape.per_step ? time * B * width : 0) + direction * H;
      const Num* h = w.z[i] + (step + 1) * B * zs;
      for (long m = 0; m < B; m++)
        for (long n = 0; n < H; n += W) store(to + m * width + n, load(h + m * zs + n));
    }
  }
}

// The loss of one row of answers, which becomes its gradient times `factor` (0 leaves it alone); counts a hit.
INLINE double cross_entropy(float* answer, long C, long padded, int64_t y, float factor, bool& hit) {
  float most = answer[0];
  long found = 0;
  for (long c = 1; c < C; c++)
    if (answer[c] > most) most = answer[c], found = c;
  hit = found == y;
  const float own = answer[y] - most;
  float sum = 0;
  for (long c = 0; c < padded; c += W) store(answer + c, exp(load(answer + c) - broadcast(most)));
  for (long c = 0; c < C; c++) sum += answer[c];
  const float scale = factor / sum;
  for (long c = 0; c < padded; c += W) store(answer + c, load(answer + c) * broadcast(scale));
  for (long c = C; c < padded; c++) answer[c] = 0;
  answer[y] -= factor;
  return log_positive(sum) - own;
}

INLINE double squared_error(float* answer, long C, long padded, const float* y, float factor) {
  double sum = 0;
  for (long c = 0; c < C; c++) {
    const float error = answer[c] - y[c];
    sum += (double)error * error;
    answer[c] = error * factor;
  }
  for (long c = C; c < padded; c++) answer[c] = 0;
  return sum / C;
}

// Answers of a chunk and their loss; w.answers becomes the gradient of the mean loss over `batch` sequences.
template <class Num>
static Sum answer(const Plan& p, const float* parameters, Work<Num>& w, const Data& data, const Rows& rows) {
  const long B = rows.rows, T = p.shape.steps, C = p.shape.outputs, width = p.D * p.H, each = p.shape.per_step ? T : 1;
  const float* bias = parameters + p.bias;
  gather_seen(p, w, B);
  product(w.seen, width, parameters + p.head, each * B, p.C, Runs{1, width, 0},
          [&](long m, long n, vec v) __attribute__((always_inline)) { store(w.answers + m * p.C + n, v + load(bias + n)); });
  const float factor = (float)(p.shape.regression ? 2.0 / ((double)rows.batch * C) : 1.0 / ((double)rows.batch * each));
  Sum sum = {0, 0};
  for (long m = 0; m < B; m++) {
    double loss = 0, found = 0;
    for (long t = 0; t < each; t++) {
      float* row = w.answers + (t * B + m) * p.C;
      bool hit = false;
      if (p.shape.regression) loss += squared_error(row, C, p.C, (const float*)data.y + rows.index(m) * C, factor);
      else loss += cross_entropy(row, C, p.C, ((const int64_t*)data.y)[rows.index(m) * each + t], factor, hit);
      found += hit;
    }
    sum.loss += loss / each, sum.hits += found / each;
  }
  return sum;
}

// From w.answers, gradients by now, to those of the head's parameters and of what it has seen.
template <class Num> static void head_backward(const Plan& p, const float* head, Work<Num>& w, long B, float* gradient) {
  const long width = p.D * p.H, n = p.shape.per_step ? p.shape.steps * B : B;
  weight_gradient(w.seen, width, w.answers, p.C, n, width, p.C, gradient + p.head);
  for (long m = 0; m < n; m++)
    for (long c = 0; c < p.C; c += W) store(gradient + p.bias + c, load(gradient + p.bias + c) + load(w.answers + m * p.C + c));
  product(w.answers, p.C, head, n, width, Runs{1, p.C, 0},
          [&](long m, long j, vec v) __attribute__((always_inline)) { store(w.d_seen + m * width + j, v); });
}
