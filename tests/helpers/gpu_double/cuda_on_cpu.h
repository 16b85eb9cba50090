// The words of CUDA C++ for g++ 12 and newer (C++20):
//   g++ -std=c++20 -x c++ -include cuda_on_cpu.h kernel.cu
// Only what CUDA has for the architecture __CUDA_ARCH__, with CUDA's types, so that what compiles
// here has a chance to compile there. block_runner.h runs the kernels.
#pragma once
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

// ---- vector types

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

#define CUDA_ON_CPU_VECTOR(NAME, T)                                                    \
  struct NAME##1 { T x; };                                                             \
  struct alignas(2 * sizeof(T)) NAME##2 { T x, y; };                                   \
  struct NAME##3 { T x, y, z; };                                                       \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) NAME##4 { T x, y, z, w; };   \
  inline NAME##1 make_##NAME##1(T x) { return {x}; }                                   \
  inline NAME##2 make_##NAME##2(T x, T y) { return {x, y}; }                           \
  inline NAME##3 make_##NAME##3(T x, T y, T z) { return {x, y, z}; }                   \
  inline NAME##4 make_##NAME##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTOR(char, signed char)
CUDA_ON_CPU_VECTOR(uchar, unsigned char)
CUDA_ON_CPU_VECTOR(short, short)
CUDA_ON_CPU_VECTOR(ushort, unsigned short)
CUDA_ON_CPU_VECTOR(int, int)
CUDA_ON_CPU_VECTOR(uint, unsigned)
CUDA_ON_CPU_VECTOR(longlong, long long)
CUDA_ON_CPU_VECTOR(ulonglong, unsigned long long)
CUDA_ON_CPU_VECTOR(float, float)
CUDA_ON_CPU_VECTOR(double, double)

#include "block_runner.h"

// ---- qualifiers; after the standard headers, which use some of these words

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("cushared")))

// ---- where am I, and waiting for each other

#define threadIdx (::cuda_on_cpu::self->index)
#define blockIdx (::cuda_on_cpu::self->block)
#define blockDim (::cuda_on_cpu::running->block)
#define gridDim (::cuda_on_cpu::running->grid)
constexpr int warpSize = 32;

#define __syncthreads() ::cuda_on_cpu::sync_block(__LINE__)
#define __syncthreads_count(p) ::cuda_on_cpu::count_in_block((p) != 0, __LINE__)
#define __syncthreads_or(p) (__syncthreads_count(p) != 0)
#define __syncthreads_and(p) (__syncthreads_count(!(p)) == 0)

// The optional last argument: CUDA_ON_CPU_FIRST(__VA_ARGS__ __VA_OPT__(, ) default).
#define CUDA_ON_CPU_FIRST(a, ...) (a)
#define __syncwarp(...) \
  ::cuda_on_cpu::sync_warp(CUDA_ON_CPU_FIRST(__VA_ARGS__ __VA_OPT__(, ) 0xffffffffu), __LINE__)

namespace cuda_on_cpu {
// The lane that a shuffle reads from, in segments of `width` lanes; the own one beyond the end.
inline int lane_down(int delta, int width) {
  return (int)lane() % width + delta < width ? (int)lane() + delta : (int)lane();
}
inline int lane_up(int delta, int width) {
  return (int)lane() % width - delta >= 0 ? (int)lane() - delta : (int)lane();
}
inline int lane_xor(int bits, int width) {
  int other = (int)lane() ^ bits;
  return other / width <= (int)lane() / width ? other : (int)lane();
}
inline int lane_at(int index, int width) {
  return (int)lane() / width * width + (index % width + width) % width;
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_SHUFFLE(FROM, mask, value, x, ...)                                           \
  ::cuda_on_cpu::value_of_lane(                                                                  \
      (mask), (value),                                                                           \
      ::cuda_on_cpu::FROM((int)(x), CUDA_ON_CPU_FIRST(__VA_ARGS__ __VA_OPT__(, ) 32)), __LINE__)
#define __shfl_sync(m, v, x, ...) CUDA_ON_CPU_SHUFFLE(lane_at, m, v, x, __VA_ARGS__)
#define __shfl_up_sync(m, v, x, ...) CUDA_ON_CPU_SHUFFLE(lane_up, m, v, x, __VA_ARGS__)
#define __shfl_down_sync(m, v, x, ...) CUDA_ON_CPU_SHUFFLE(lane_down, m, v, x, __VA_ARGS__)
#define __shfl_xor_sync(m, v, x, ...) CUDA_ON_CPU_SHUFFLE(lane_xor, m, v, x, __VA_ARGS__)
#define __ballot_sync(m, p) ::cuda_on_cpu::ballot((m), (p) != 0, __LINE__)
#define __any_sync(m, p) (::cuda_on_cpu::ballot((m), (p) != 0, __LINE__) != 0)
#define __all_sync(m, p) (::cuda_on_cpu::ballot((m), (p) == 0, __LINE__) == 0)
#define __match_any_sync(m, v) ::cuda_on_cpu::lanes_with_value((m), (v), __LINE__)
#if __CUDA_ARCH__ >= 800
#define CUDA_ON_CPU_REDUCE(m, v, OPERATION) \
  ::cuda_on_cpu::combined((m), (v), __LINE__, [](auto a, auto b) { return OPERATION; })
#define __reduce_add_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a + b)
#define __reduce_min_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a < b ? a : b)
#define __reduce_max_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a > b ? a : b)
#define __reduce_and_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a & b)
#define __reduce_or_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a | b)
#define __reduce_xor_sync(m, v) CUDA_ON_CPU_REDUCE(m, v, a ^ b)
#endif

inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() { __threadfence(); }
#define __nanosleep(ns) ::cuda_on_cpu::sleep(__LINE__)

// ---- memory

template <class V> V __ldg(const V* p) { return *p; }
template <class V> V __ldcs(const V* p) { return *p; }
template <class V> V __ldcg(const V* p) { return *p; }
template <class V> void __stcs(V* p, std::type_identity_t<V> value) { *p = value; }
template <class V> void __stcg(V* p, std::type_identity_t<V> value) { *p = value; }

namespace cuda_on_cpu {
template <class V, class... Allowed>
constexpr bool one_of = (std::is_same_v<V, Allowed> || ...);
using ull = unsigned long long;

// Inlined, so that a report names the line of the kernel.
template <class V>
__forceinline__ bool replaced(V* p, V& expected, V value) {
  return __atomic_compare_exchange(p, &expected, &value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}
template <class V, class Change>
__forceinline__ V atomically(V* p, Change change) {
  V old;
  __atomic_load(p, &old, __ATOMIC_RELAXED);
  while (!replaced(p, old, (V)change(old))) {
  }
  return old;
}
}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_ATOMIC(NAME, CHANGED, ...)                                                  \
  template <class V> __forceinline__ V NAME(V* p, std::type_identity_t<V> v) {                  \
    using cuda_on_cpu::ull;                                                                     \
    static_assert(cuda_on_cpu::one_of<V, __VA_ARGS__>, "CUDA has no " #NAME " for this type");  \
    return cuda_on_cpu::atomically(p, [v](V old) { return CHANGED; });                          \
  }
CUDA_ON_CPU_ATOMIC(atomicAdd, old + v, int, unsigned, ull, float, double)
CUDA_ON_CPU_ATOMIC(atomicSub, old - v, int, unsigned)
CUDA_ON_CPU_ATOMIC(atomicMin, old < v ? old : v, int, unsigned, ull, long long)
CUDA_ON_CPU_ATOMIC(atomicMax, old > v ? old : v, int, unsigned, ull, long long)
CUDA_ON_CPU_ATOMIC(atomicExch, v, int, unsigned, ull, float)
CUDA_ON_CPU_ATOMIC(atomicAnd, old & v, int, unsigned, ull)
CUDA_ON_CPU_ATOMIC(atomicOr, old | v, int, unsigned, ull)
CUDA_ON_CPU_ATOMIC(atomicXor, old ^ v, int, unsigned, ull)
CUDA_ON_CPU_ATOMIC(atomicInc, old >= v ? 0 : old + 1, unsigned)
CUDA_ON_CPU_ATOMIC(atomicDec, old == 0 || old > v ? v : old - 1, unsigned)
template <class V>
__forceinline__ V atomicCAS(V* p, std::type_identity_t<V> expected, std::type_identity_t<V> value) {
  using cuda_on_cpu::ull;
  static_assert(cuda_on_cpu::one_of<V, int, unsigned, ull, unsigned short>,
                "CUDA has no atomicCAS for this type");
  cuda_on_cpu::replaced(p, expected, value);
  return expected;
}

// ---- arithmetic

template <class A, class B> constexpr auto min(A a, B b) {
  using C = std::common_type_t<A, B>;
  return (C)b < (C)a ? (C)b : (C)a;
}
template <class A, class B> constexpr auto max(A a, B b) {
  using C = std::common_type_t<A, B>;
  return (C)a < (C)b ? (C)b : (C)a;
}

// Rounded once, and never contracted with what follows: the store to a volatile sees to that.
#define CUDA_ON_CPU_ROUNDED(NAME, T, OPERATION) \
  inline T NAME(T a, T b) { volatile T result = OPERATION; return result; }
CUDA_ON_CPU_ROUNDED(__fadd_rn, float, a + b)
CUDA_ON_CPU_ROUNDED(__fsub_rn, float, a - b)
CUDA_ON_CPU_ROUNDED(__fmul_rn, float, a * b)
CUDA_ON_CPU_ROUNDED(__fdiv_rn, float, a / b)
CUDA_ON_CPU_ROUNDED(__dadd_rn, double, a + b)
CUDA_ON_CPU_ROUNDED(__dsub_rn, double, a - b)
CUDA_ON_CPU_ROUNDED(__dmul_rn, double, a * b)
CUDA_ON_CPU_ROUNDED(__ddiv_rn, double, a / b)
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dsqrt_rn(double a) { return std::sqrt(a); }
inline float __frcp_rn(float a) { return __fdiv_rn(1.0f, a); }
inline double __drcp_rn(double a) { return __ddiv_rn(1.0, a); }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
// What follows is only approximate in CUDA.
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline double rsqrt(double a) { return 1.0 / std::sqrt(a); }
inline float __expf(float a) { return std::exp(a); }
inline float __logf(float a) { return std::log(a); }
inline float __powf(float a, float b) { return std::pow(a, b); }

// ---- conversions: rounded to nearest even, down, up or to zero, and saturated as CUDA does

namespace cuda_on_cpu {
template <class I, class F>
I saturated(F value) {
  if (value != value) return sizeof(I) == 8 ? std::numeric_limits<I>::min() : I(0);
  if (value < (F)std::numeric_limits<I>::min()) return std::numeric_limits<I>::min();
  if (value >= std::ldexp((F)1, std::numeric_limits<I>::digits)) return std::numeric_limits<I>::max();
  return (I)value;
}
}  // namespace cuda_on_cpu
#define CUDA_ON_CPU_CONVERT(NAME, F, I)                                                     \
  inline I __##NAME##_rn(F a) { return cuda_on_cpu::saturated<I>(std::nearbyint(a)); }      \
  inline I __##NAME##_rd(F a) { return cuda_on_cpu::saturated<I>(std::floor(a)); }          \
  inline I __##NAME##_ru(F a) { return cuda_on_cpu::saturated<I>(std::ceil(a)); }           \
  inline I __##NAME##_rz(F a) { return cuda_on_cpu::saturated<I>(std::trunc(a)); }
CUDA_ON_CPU_CONVERT(float2int, float, int)
CUDA_ON_CPU_CONVERT(float2uint, float, unsigned)
CUDA_ON_CPU_CONVERT(float2ll, float, long long)
CUDA_ON_CPU_CONVERT(float2ull, float, unsigned long long)
CUDA_ON_CPU_CONVERT(double2int, double, int)
CUDA_ON_CPU_CONVERT(double2uint, double, unsigned)
CUDA_ON_CPU_CONVERT(double2ll, double, long long)
CUDA_ON_CPU_CONVERT(double2ull, double, unsigned long long)
inline float __int2float_rn(int a) { return (float)a; }
inline float __uint2float_rn(unsigned a) { return (float)a; }
inline float __ll2float_rn(long long a) { return (float)a; }
inline float __ull2float_rn(unsigned long long a) { return (float)a; }
inline float __double2float_rn(double a) { return (float)a; }
inline double __int2double_rn(int a) { return a; }
inline double __uint2double_rn(unsigned a) { return a; }
inline double __ll2double_rn(long long a) { return (double)a; }
inline double __ull2double_rn(unsigned long long a) { return (double)a; }

// ---- bits

inline int __float_as_int(float a) { return std::bit_cast<int>(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); }
inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline long long __double_as_longlong(double a) { return std::bit_cast<long long>(a); }
inline double __longlong_as_double(long long a) { return std::bit_cast<double>(a); }
inline int __popc(unsigned a) { return std::popcount(a); }
inline int __popcll(unsigned long long a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero((unsigned)a); }
inline int __clzll(long long a) { return std::countl_zero((unsigned long long)a); }
inline int __ffs(int a) { return __builtin_ffs(a); }
inline int __ffsll(long long a) { return __builtin_ffsll(a); }
inline int __mulhi(int a, int b) { return (int)(((long long)a * b) >> 32); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned)(((unsigned long long)a * b) >> 32);
}
inline long long __mul64hi(long long a, long long b) {
  return (long long)(((__int128)a * b) >> 64);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
inline unsigned __brev(unsigned a) {
  unsigned result = 0;
  for (int i = 0; i < 32; ++i) result |= (a >> i & 1) << (31 - i);
  return result;
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned selector) {
  unsigned long long bytes = (unsigned long long)b << 32 | a;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i)
    result |= (unsigned)(bytes >> 8 * (selector >> 4 * i & 7) & 255) << 8 * i;
  return result;
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((unsigned long long)high << 32 | low) << (shift & 31) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return (unsigned)(((unsigned long long)high << 32 | low) >> (shift & 31));
}
