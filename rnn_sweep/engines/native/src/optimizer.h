// The optimisers of torch.optim, number by number as their documentation writes them; g is the clipped gradient.
#pragma once
#include "vector.h"

enum { SGD, ADAM, ADAMW, RMSPROP, ADAGRAD };

struct Optimizer {
  int64_t kind, nesterov, amsgrad, centered;
  double weight_decay, momentum, dampening, beta2, eps, alpha, lr_decay;  // momentum is β₁ of Adam
};

// b^n by squaring: pow() of a library may round differently from machine to machine.
static double power(double b, int64_t n) {
  double result = 1;
  for (; n; n >>= 1, b *= b)
    if (n & 1) result *= b;
  return result;
}

INLINE float root(float x) { return __builtin_sqrtf(x); }

// One step of numbers [from, to). `step` counts from 1; s0, s1, s2 are the optimiser's state.
static void optimize(const Optimizer& o, int64_t step, double lr, double momentum, float scale, const float* gradient, float* __restrict p,
                     float* __restrict s0, float* __restrict s1, float* __restrict s2, long from, long to) {
  const float decay = (float)o.weight_decay, rate = (float)lr, eps = (float)o.eps;
  if (o.kind == SGD) {
    const float mu = (float)momentum, keep = (float)(step == 1 ? 1 : 1 - o.dampening), old = step == 1 ? 0.f : mu;
    for (long i = from; i < to; i++) {
      float g = gradient[i] * scale + decay * p[i];
      if (momentum != 0) {
        s0[i] = old * s0[i] + keep * g;  // the first step takes g whole
        g = o.nesterov ? g + mu * s0[i] : s0[i];
      }
      p[i] -= rate * g;
    }
  } else if (o.kind == ADAM || o.kind == ADAMW) {
    const double c1 = 1 - power(momentum, step), c2 = 1 - power(o.beta2, step);
    const float a = (float)(1 - momentum), b = (float)o.beta2, b_ = (float)(1 - o.beta2), size = (float)(lr / c1);
    const float correction = (float)__builtin_sqrt(c2), shrink = (float)(1 - lr * o.weight_decay);
    const float coupled = o.kind == ADAM ? decay : 0.f, decoupled = o.kind == ADAMW ? shrink : 1.f;
    for (long i = from; i < to; i++) {
      const float g = gradient[i] * scale + coupled * p[i];
      s0[i] += a * (g - s0[i]);
      s1[i] = b * s1[i] + b_ * (g * g);
      float v = s1[i];
      if (o.amsgrad) v = s2[i] = v > s2[i] ? v : s2[i];
      p[i] = decoupled * p[i] - size * (s0[i] / (root(v) / correction + eps));
    }
  } else if (o.kind == RMSPROP) {
    const float a = (float)o.alpha, a_ = (float)(1 - o.alpha), mu = (float)momentum;
    for (long i = from; i < to; i++) {
      float g = gradient[i] * scale + decay * p[i];
      s0[i] = a * s0[i] + a_ * (g * g);
      float v = s0[i];
      if (o.centered) {
        s1[i] += a_ * (g - s1[i]);
        v -= s1[i] * s1[i];
      }
      g = g / (root(v) + eps);
      if (momentum != 0) g = s2[i] = mu * s2[i] + g;
      p[i] -= rate * g;
    }
  } else {
    const float slower = (float)(lr / (1 + (double)(step - 1) * o.lr_decay));
    for (long i = from; i < to; i++) {
      const float g = gradient[i] * scale + decay * p[i];
      s0[i] += g * g;
      p[i] -= slower * (g / (root(s0[i]) + eps));
    }
  }
}
