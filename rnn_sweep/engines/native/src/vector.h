// Vectors of W floats, and the elementary functions on them.
//
// Every operation here is correctly rounded by itself (the compiler must not contract a * b + c: -ffp-contract=off),
// fused multiply-adds are written out, and exp, tanh and log are our own. So each result is the same bits whatever the
// width of a vector, the compiler or the processor, as long as it has a fused multiply-add.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__AVX512F__)
typedef __m512 vec;
constexpr int W = 16, REGISTERS = 32;
INLINE vec fma(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec broadcast(float x) { return _mm512_set1_ps(x); }
INLINE vec load(const float* p) { return _mm512_loadu_ps(p); }
INLINE void store(float* p, vec x) { _mm512_storeu_ps(p, x); }
INLINE vec least(vec bound, vec x) { return _mm512_max_ps(bound, x); }
INLINE vec most(vec bound, vec x) { return _mm512_min_ps(bound, x); }
INLINE vec load_bytes(const uint8_t* p) { return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))); }
#elif defined(__FMA__)
typedef __m256 vec;
constexpr int W = 8, REGISTERS = 16;
INLINE vec fma(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec broadcast(float x) { return _mm256_set1_ps(x); }
INLINE vec load(const float* p) { return _mm256_loadu_ps(p); }
INLINE void store(float* p, vec x) { _mm256_storeu_ps(p, x); }
INLINE vec least(vec bound, vec x) { return _mm256_max_ps(bound, x); }
INLINE vec most(vec bound, vec x) { return _mm256_min_ps(bound, x); }
INLINE vec load_bytes(const uint8_t* p) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))); }
#elif defined(__aarch64__)
typedef float32x4_t vec;
constexpr int W = 4, REGISTERS = 32;
INLINE vec fma(vec a, vec b, vec c) { return vfmaq_f32(c, a, b); }
INLINE vec broadcast(float x) { return vdupq_n_f32(x); }
INLINE vec load(const float* p) { return vld1q_f32(p); }
INLINE void store(float* p, vec x) { vst1q_f32(p, x); }
INLINE vec least(vec bound, vec x) { return vmaxq_f32(bound, x); }
INLINE vec most(vec bound, vec x) { return vminq_f32(bound, x); }
INLINE vec load_bytes(const uint8_t* p) { vec v = {(float)p[0], (float)p[1], (float)p[2], (float)p[3]}; return v; }
#else
#error "the native engine needs AVX2 with FMA, AVX-512 or a 64-bit Arm"
#endif

typedef int32_t ivec __attribute__((vector_size(W * 4)));
typedef uint32_t uvec __attribute__((vector_size(W * 4)));

// `least` and `most` above are a bound from below and from above; a NaN stays what it is.
INLINE vec zero() { return broadcast(0.f); }
INLINE vec where(ivec mask, vec a) { return (vec)(mask & (ivec)a); }
INLINE uvec lanes() {
  uvec v;
  UNROLL for (int i = 0; i < W; i++) v[i] = i;
  return v;
}

// x, NaN included, but 0 where x is not positive.
INLINE vec relu(vec x) { return (vec)(~(ivec)(x <= zero()) & (ivec)x); }

// e^r - 1 for |r| <= ln(2) / 2, by its series: r + r² (1/2! + r/3! + … + r⁵/7!); the next term is below 2^-25 r.
INLINE vec expm1_reduced(vec r) {
  vec q = fma(r, broadcast(1.f / 5040), broadcast(1.f / 720));
  q = fma(q, r, broadcast(1.f / 120));
  q = fma(q, r, broadcast(1.f / 24));
  q = fma(q, r, broadcast(1.f / 6));
  q = fma(q, r, broadcast(1.f / 2));
  return fma(r * r, q, r);
}

// x = n ln 2 + r with an integer n. Adding 1.5 · 2^23 leaves n in the lowest bits of `n_plus`.
INLINE vec reduce(vec x, vec& n_plus) {
  const vec shift = broadcast(12582912.f);
  n_plus = fma(x, broadcast(1.44269504f), shift);
  vec n = n_plus - shift;
  vec r = fma(n, broadcast(-0.693359375f), x);
  return fma(n, broadcast(2.12194440e-4f), r);
}

INLINE vec exp(vec x) {
  x = most(broadcast(88.f), least(broadcast(-87.f), x));
  vec n, r = reduce(x, n);
  vec y = broadcast(1.f) + expm1_reduced(r);
  return (vec)((ivec)y + ((ivec)n << 23));
}

// σ(x) = 1 / (1 + e^-x)
INLINE vec sigmoid(vec x) { return broadcast(1.f) / (broadcast(1.f) + exp(zero() - x)); }

// tanh |x| = E / (E + 2), E = e^2|x| - 1 = 2^n (e^r - 1) + (2^n - 1); from |x| = 9.02 on it is 1 in single precision.
INLINE vec tanh(vec x) {
  const ivec sign = (ivec)broadcast(-0.f);
  vec a = (vec)(~sign & (ivec)x);
  a = most(broadcast(9.02f), a);
  vec n, r = reduce(a + a, n);
  vec scale = (vec)(((ivec)n << 23) + (ivec)broadcast(1.f));
  vec e = fma(scale, expm1_reduced(r), scale - broadcast(1.f));
  vec y = e / (e + broadcast(2.f));
  return (vec)((ivec)y | (sign & (ivec)x));
}

// log x for a normal x > 0: x = m 2^k, log m = 2 artanh s = 2 (s + s³/3 + s⁵/5 + …), s = (m - 1) / (m + 1) <= 0.172
INLINE double log_positive(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  if (bits >= 0x7f800000u) return x;  // infinite or NaN
  int k = (int)(bits >> 23) - 127;
  bits = (bits & 0x7fffffu) | 0x3f800000u;
  float f;
  memcpy(&f, &bits, 4);
  double m = f;
  if (m > 1.4142135623730951) m *= 0.5, k++;
  double s = (m - 1) / (m + 1), q = s * s;
  double p = 1. / 13;
  p = p * q + 1. / 11;
  p = p * q + 1. / 9;
  p = p * q + 1. / 7;
  p = p * q + 1. / 5;
  p = p * q + 1. / 3;
  return 2 * (s + s * q * p) + k * 0.6931471805599453;
}

// A deterministic 32-bit hash of two words; both rounds are the finaliser of a multiply-xorshift hash.
INLINE uvec mix(uvec x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// ---- bfloat16: the upper half of a float, rounded to nearest even -----------------------------------------------
struct bf16 {
  uint16_t bits;
};
#if defined(__AVX512BF16__)
INLINE vec load(const bf16* p) { return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p)), 16); }
INLINE void store(bf16* p, vec x) { _mm256_storeu_si256((__m256i*)p, (__m256i)_mm512_cvtneps_pbh(x)); }
#endif
INLINE void set(float& place, float x) { place = x; }
INLINE void set(bf16& place, float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
  place.bits = (uint16_t)(nan ? (bits >> 16) | 64 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
INLINE float get(float x) { return x; }
INLINE float get(bf16 x) {
  uint32_t bits = (uint32_t)x.bits << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}
