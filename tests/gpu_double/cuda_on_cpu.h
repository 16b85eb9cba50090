// cuda_on_cpu.h - run CUDA C++ kernels on the CPU for tests.  g++ >= 12, C++20.
//   g++ -std=c++20 -x c++ -include cuda_on_cpu.h kernel.cu            fibers (default, deterministic)
//   ... -DCUDA_ON_CPU_THREADS -pthread [-fsanitize=thread]            one std::thread per CUDA thread
// Blocks run one after another; __shared__ variables become statics in section "cushared" that
// are poisoned (0xFF = NaN / -1) before every block.
#pragma once
#include <algorithm>
#include <atomic>
#include <barrier>
#include <bit>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>
#include <setjmp.h>
#include <ucontext.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __CUDA_ON_CPU__ 1
#ifndef __CUDA_ARCH__
#define __CUDA_ARCH__ 800
#endif
#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __managed__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static __attribute__((section("cushared")))

struct dim3 { unsigned x, y, z; constexpr dim3(unsigned a=1, unsigned b=1, unsigned c=1):x(a),y(b),z(c){} };
struct uint3 { unsigned x, y, z; };
#define CUDA_ON_CPU_VEC(T, N, A2, A4) \
  struct alignas(A2) N##2 { T x, y; }; struct N##3 { T x, y, z; }; struct alignas(A4) N##4 { T x, y, z, w; }; \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; } inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; } \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
CUDA_ON_CPU_VEC(float, float, 8, 16) CUDA_ON_CPU_VEC(int, int, 8, 16) CUDA_ON_CPU_VEC(unsigned char, uchar, 2, 4)
CUDA_ON_CPU_VEC(signed char, char, 2, 4) CUDA_ON_CPU_VEC(short, short, 4, 8) CUDA_ON_CPU_VEC(unsigned short, ushort, 4, 8)
struct alignas(8) uint2 { unsigned x, y; }; struct alignas(16) uint4 { unsigned x, y, z, w; };
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
struct alignas(16) double2 { double x, y; }; inline double2 make_double2(double x, double y) { return {x, y}; }

namespace cuda_on_cpu {
struct Error : std::runtime_error { using std::runtime_error::runtime_error; };
enum State : uint8_t { READY, WAIT_BLOCK, WAIT_WARP, DONE };
struct Thread {                       // one CUDA thread
  uint3 tid; uint3 bid; dim3 bdim, gdim; unsigned lin = 0;
  State st = READY; int line = 0; unsigned mask = 0; uint64_t xch = 0;
};
struct Launch { dim3 grid, block; size_t smem; unsigned nthreads; void (*fn)(void*, void**); void* f; void** args;
                int order; uint64_t seed; };
inline std::vector<Thread> T;         // threads of the running block
inline char* dyn = nullptr;           // dynamic shared memory, exactly smem bytes (ASan sees its end)
extern "C" { extern char __start_cushared[] __attribute__((weak)); extern char __stop_cushared[] __attribute__((weak)); }
#define CUDA_ON_CPU_NOSAN __attribute__((no_sanitize("address", "thread"), noinline))
CUDA_ON_CPU_NOSAN inline void poison_shared(size_t smem) {
  for (volatile char* p = __start_cushared; p && p < __stop_cushared; ++p) *p = (char)0xFF;
  for (size_t i = 0; i < smem; ++i) ((volatile char*)dyn)[i] = (char)0xFF;
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < 240; ++i) ((volatile char*)dyn)[smem + i] = (char)0xFF;   // out-of-range reads see NaN / -1
#endif
}
inline void check_shared(size_t smem) {
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = 0; i < 240; ++i) if (dyn[smem + i] != (char)0xFF) throw Error("write past the end of dynamic shared memory (offset " + std::to_string(smem + i) + " of " + std::to_string(smem) + ")");
#endif
}
inline void* dyn_smem() { return dyn; }
inline unsigned warp_live(unsigned w) { unsigned m = 0; for (unsigned l = 0; l < 32 && w*32+l < T.size(); ++l)
  if (T[w*32+l].st != DONE) m |= 1u << l; return m; }

#ifndef CUDA_ON_CPU_THREADS
// ---------------------------------------------------------------- fibers
constexpr size_t STACK = 256 * 1024;
struct Fiber { ucontext_t uc; jmp_buf jb; std::unique_ptr<char[]> stack; bool started = false; int cur = -1; void* fake = nullptr; };
inline Thread* self = nullptr;
inline Fiber* fself = nullptr;
inline std::vector<std::unique_ptr<Fiber>> pool;   // idle fibers
inline std::vector<Fiber*> idle;
inline std::vector<Fiber*> on;                      // fiber holding CUDA thread i (or null)
inline ucontext_t sched_uc; inline jmp_buf sched_jb; inline void* sched_fake; 
inline const void* sched_bottom; inline size_t sched_size;
inline std::vector<unsigned> ordering; inline size_t next_start = 0;
inline Launch* L = nullptr;
inline std::string failure;

inline void to_sched() {              // called on a fiber
#if defined(__SANITIZE_ADDRESS__)
  Fiber* f = fself; __sanitizer_start_switch_fiber(&f->fake, sched_bottom, sched_size);
  swapcontext(&f->uc, &sched_uc);
  __sanitizer_finish_switch_fiber(f->fake, &sched_bottom, &sched_size);
#else
  if (!_setjmp(fself->jb)) _longjmp(sched_jb, 1);
#endif
}
inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &sched_bottom, &sched_size);
#endif
  for (;;) {                          // a fiber keeps taking fresh CUDA threads until one blocks on it
    while (failure.empty() && next_start < ordering.size()) {
      unsigned i = ordering[next_start++]; Fiber* me = fself; me->cur = (int)i; on[i] = me; self = &T[i];
      try { L->fn(L->f, L->args); } catch (const std::exception& e) { failure = e.what(); }
      self->st = DONE; on[i] = nullptr; me->cur = -1;
      // after a blocking call this fiber was resumed by resume(); go back there so it can go on
      if (me != fself) std::abort();
      if (next_start >= ordering.size()) break;
      if (self->line) break;          // this thread had blocked before: return to the scheduler loop
    }
    idle.push_back(fself); to_sched();
  }
}
inline void resume(Fiber* f) {
  fself = f; if (f->cur >= 0) self = &T[f->cur];
#if defined(__SANITIZE_ADDRESS__)
  if (!f->started) { f->started = true; getcontext(&f->uc); f->uc.uc_stack.ss_sp = f->stack.get(); f->uc.uc_stack.ss_size = STACK;
    f->uc.uc_link = nullptr; makecontext(&f->uc, (void(*)())fiber_main, 0); }
  __sanitizer_start_switch_fiber(&sched_fake, f->stack.get(), STACK);
  swapcontext(&sched_uc, &f->uc);
  __sanitizer_finish_switch_fiber(sched_fake, nullptr, nullptr);
#else
  if (_setjmp(sched_jb)) return;
  if (f->started) _longjmp(f->jb, 1);
  f->started = true; getcontext(&f->uc); f->uc.uc_stack.ss_sp = f->stack.get(); f->uc.uc_stack.ss_size = STACK;
  f->uc.uc_link = nullptr; makecontext(&f->uc, (void(*)())fiber_main, 0); setcontext(&f->uc);
#endif
}
inline Fiber* get_idle() {
  if (idle.empty()) { pool.push_back(std::make_unique<Fiber>()); pool.back()->stack.reset(new char[STACK]); return pool.back().get(); }
  Fiber* f = idle.back(); idle.pop_back(); return f;
}
inline void block_on(State s, int line, unsigned mask) {
  Thread* me = self; me->st = s; me->line = line; me->mask = mask; to_sched();
  if (!failure.empty()) throw Error(failure);
}
inline void sync_block(int line) { block_on(WAIT_BLOCK, line, 0); }
inline void sync_warp(unsigned mask, int line) { block_on(WAIT_WARP, line, mask); }
inline Thread& lane(unsigned l) { return T[(self->lin & ~31u) + l]; }
inline bool lane_ok(unsigned l) { return (self->lin & ~31u) + l < T.size(); }

inline void run_block(Launch& l, uint3 bid, std::mt19937_64& rng) {
  L = &l; unsigned n = l.nthreads; on.assign(n, nullptr); next_start = 0;
  ordering.resize(n); for (unsigned i = 0; i < n; ++i) ordering[i] = i;
  auto arrange = [&](std::vector<unsigned>& v) {
    if (l.order == 1) std::reverse(v.begin(), v.end()); else if (l.order == 2) std::shuffle(v.begin(), v.end(), rng); };
  arrange(ordering);
  while (next_start < n && failure.empty()) resume(get_idle());
  std::vector<unsigned> go;
  while (failure.empty()) {
    unsigned live = 0, atblock = 0; int line = 0; bool diverged = false; go.clear();
    for (unsigned i = 0; i < n; ++i) { if (T[i].st == DONE) continue; ++live;
      if (T[i].st == WAIT_BLOCK) { ++atblock; if (line && line != T[i].line) diverged = true; line = T[i].line; } }
    if (!live) break;
    if (atblock == live) {
      if (diverged) { failure = "barrier divergence: threads of one block wait at different __syncthreads()"; break; }
      if (live != n) { failure = "barrier divergence: " + std::to_string(n - live) + " thread(s) of the block returned while "
                       + std::to_string(live) + " wait at __syncthreads() in line " + std::to_string(line); break; }
      for (unsigned i = 0; i < n; ++i) if (T[i].st == WAIT_BLOCK) { T[i].st = READY; go.push_back(i); }
    } else {
      for (unsigned w = 0; w * 32 < n; ++w) {        // release complete warp-level meetings
        for (unsigned k = 0; k < 32 && w*32+k < n; ++k) { Thread& t = T[w*32+k]; if (t.st != WAIT_WARP) continue;
          unsigned need = t.mask; bool ok = (need >> k) & 1;
          if (!ok) { failure = "warp sync in line " + std::to_string(t.line) + ": calling lane not in its mask"; break; }
          for (unsigned j = 0; j < 32; ++j) if ((need >> j) & 1) {
            if (w*32+j >= n || T[w*32+j].st == DONE) { failure = "warp sync in line " + std::to_string(t.line) + ": mask names an exited or absent lane"; ok = false; break; }
            Thread& o = T[w*32+j]; if (o.st != WAIT_WARP || o.line != t.line || o.mask != need) { ok = false; break; } }
          if (ok) for (unsigned j = 0; j < 32; ++j) if ((need >> j) & 1) { T[w*32+j].st = READY; go.push_back(w*32+j); }
        }
      }
      if (go.empty() && failure.empty()) failure = "deadlock: warp sync never completed (lanes diverged) in line " + std::to_string(line);
    }
    arrange(go);
    for (unsigned i : go) { resume(on[i]); if (!failure.empty()) break; }
  }
  // on failure unwind the suspended threads so that stacks are clean
  if (!failure.empty()) for (unsigned i = 0; i < n; ++i) if (on[i]) resume(on[i]);
}
#define CUDA_ON_CPU_SELF (*::cuda_on_cpu::self)
#else
// ---------------------------------------------------------------- real threads (for ThreadSanitizer)
inline thread_local Thread* self = nullptr;
inline std::unique_ptr<std::barrier<>> blockbar;
inline std::vector<std::unique_ptr<std::barrier<>>> warpbar;
inline std::string failure; inline std::atomic_flag faillock;
inline void sync_block(int line) { self->line = line; blockbar->arrive_and_wait(); }
inline void sync_warp(unsigned, int) { warpbar[self->lin / 32]->arrive_and_wait(); }   // full warps only
inline Thread& lane(unsigned l) { return T[(self->lin & ~31u) + l]; }
inline bool lane_ok(unsigned l) { return (self->lin & ~31u) + l < T.size(); }
#define CUDA_ON_CPU_SELF (*::cuda_on_cpu::self)
#endif

inline void launch(Launch& l) {
  l.nthreads = l.block.x * l.block.y * l.block.z;
  failure.clear(); T.assign(l.nthreads, Thread{});
  std::unique_ptr<char, void(*)(void*)> mem((char*)std::aligned_alloc(16, (l.smem + 15) / 16 * 16 + 256), std::free);   // 256 bytes of canary behind it
#if defined(__SANITIZE_ADDRESS__)
  mem.reset((char*)std::malloc(l.smem ? l.smem : 1));
#endif
  dyn = mem.get();
  std::mt19937_64 rng(l.seed);
  auto init = [&](unsigned i, uint3 b) { Thread& t = T[i]; t = Thread{}; t.lin = i; t.bdim = l.block; t.gdim = l.grid; t.bid = b;
    t.tid = {i % l.block.x, i / l.block.x % l.block.y, i / (l.block.x * l.block.y)}; };
  size_t nb = (size_t)l.grid.x * l.grid.y * l.grid.z;
  auto bidx = [&](size_t b) { return uint3{(unsigned)(b % l.grid.x), (unsigned)(b / l.grid.x % l.grid.y), (unsigned)(b / l.grid.x / l.grid.y)}; };
#ifndef CUDA_ON_CPU_THREADS
  std::vector<size_t> blocks(nb); for (size_t i = 0; i < nb; ++i) blocks[i] = i;
  if (l.order == 1) std::reverse(blocks.begin(), blocks.end()); else if (l.order == 2) std::shuffle(blocks.begin(), blocks.end(), rng);
  for (size_t b : blocks) {
    poison_shared(l.smem); for (unsigned i = 0; i < l.nthreads; ++i) init(i, bidx(b));
    run_block(l, bidx(b), rng);
    if (!failure.empty()) { pool.clear(); idle.clear(); std::string m = failure + " [block " + std::to_string(b) + "]"; failure.clear(); throw Error(m); }
    check_shared(l.smem);
  }
#else
  blockbar = std::make_unique<std::barrier<>>(l.nthreads); warpbar.clear();
  for (unsigned w = 0; w * 32 < l.nthreads; ++w) warpbar.push_back(std::make_unique<std::barrier<>>(std::min(32u, l.nthreads - w * 32)));
  std::barrier<> all(l.nthreads + 1);
  std::vector<std::thread> ts;
  for (unsigned i = 0; i < l.nthreads; ++i) ts.emplace_back([&, i] {
    for (size_t b = 0; b < nb; ++b) { all.arrive_and_wait(); self = &T[i]; l.fn(l.f, l.args); all.arrive_and_wait(); } });
  for (size_t b = 0; b < nb; ++b) { poison_shared(l.smem); for (unsigned i = 0; i < l.nthreads; ++i) init(i, bidx(b));
    all.arrive_and_wait(); all.arrive_and_wait(); }
  for (auto& t : ts) t.join();
#endif
  dyn = nullptr;
}
template <class V> inline V exchange(unsigned mask, V v, int srclane, int line) {
  static_assert(sizeof(V) <= 8 && std::is_trivially_copyable_v<V>);
  uint64_t raw = 0; std::memcpy(&raw, &v, sizeof v); self->xch = raw; sync_warp(mask, line);
  uint64_t got = (srclane >= 0 && srclane < 32 && lane_ok(srclane)) ? lane(srclane).xch : raw;
  sync_warp(mask, -line); V r; std::memcpy(&r, &got, sizeof r); return r;
}
inline int laneid() { return (int)(self->lin & 31); }
template <class V> inline V shfl_down(unsigned m, V v, unsigned d, int width, int line) { int l = laneid(), s = l + (int)d;
  return exchange(m, v, (l % width) + (int)d < width ? s : l, line); }
template <class V> inline V shfl_up(unsigned m, V v, unsigned d, int width, int line) { int l = laneid();
  return exchange(m, v, (l % width) - (int)d >= 0 ? l - (int)d : l, line); }
template <class V> inline V shfl_xor(unsigned m, V v, int x, int width, int line) { int l = laneid(), s = l ^ x;
  return exchange(m, v, (s / width) <= (l / width) ? s : l, line); }
template <class V> inline V shfl(unsigned m, V v, int src, int width, int line) { int l = laneid();
  return exchange(m, v, (l / width) * width + ((src % width) + width) % width, line); }
inline unsigned ballot(unsigned m, int p, int line) { self->xch = p != 0; sync_warp(m, line); unsigned r = 0;
  for (int i = 0; i < 32; ++i) if ((m >> i & 1) && lane_ok(i) && lane(i).xch) r |= 1u << i; sync_warp(m, -line); return r; }

// ---- parameter types of a kernel as text, e.g. "p16c f4 i4 u8" (pointer: pointee size, kind, c = const)
template <class P> std::string kind() {
  if constexpr (std::is_pointer_v<P>) { using E = std::remove_pointer_t<P>; using U = std::remove_cv_t<E>; std::string k = "v";
    if constexpr (std::is_same_v<U, bool>) k = "b"; else if constexpr (std::is_floating_point_v<U>) k = "f";
    else if constexpr (std::is_integral_v<U>) k = std::is_signed_v<U> ? "i" : "u";
    size_t sz = 0; if constexpr (!std::is_void_v<U>) sz = sizeof(U);
    return "p" + k + std::to_string(sz) + (std::is_const_v<E> ? "c" : ""); }
  else if constexpr (std::is_same_v<P, bool>) return "b1";
  else if constexpr (std::is_floating_point_v<P>) return "f" + std::to_string(sizeof(P));
  else if constexpr (std::is_integral_v<P>) return (std::is_signed_v<P> ? "i" : "u") + std::to_string(sizeof(P));
  else return "s" + std::to_string(sizeof(P)); }
template <class F> struct Sig;
template <class... A> struct Sig<void (*)(A...)> {
  static std::string text() { std::string s; ((s += kind<std::remove_cv_t<A>>() + " "), ...); return s; }
  template <size_t... I> static void call_(void* f, void** a, std::index_sequence<I...>) {
    ((void (*)(A...))f)(*(std::remove_cv_t<A>*)a[I]...); }
  static void call(void* f, void** a) { call_(f, a, std::index_sequence_for<A...>{}); }
};
} // namespace cuda_on_cpu

#define CUDA_ON_CPU_EXPORT(K) \
  extern "C" __attribute__((visibility("default"))) const char* cuda_on_cpu_sig_##K() { static std::string s = cuda_on_cpu::Sig<decltype(&K)>::text(); return s.c_str(); } \
  extern "C" __attribute__((visibility("default"))) int cuda_on_cpu_launch_##K(void** args, const unsigned* g, const unsigned* b, size_t smem, int order, uint64_t seed, char* err, size_t nerr) { \
    cuda_on_cpu::Launch l{dim3(g[0], g[1], g[2]), dim3(b[0], b[1], b[2]), smem, 0, &cuda_on_cpu::Sig<decltype(&K)>::call, (void*)&K, args, order, seed}; \
    try { cuda_on_cpu::launch(l); return 0; } catch (const std::exception& e) { std::snprintf(err, nerr, "%s", e.what()); return 1; } }

#define threadIdx (CUDA_ON_CPU_SELF.tid)
#define blockIdx (CUDA_ON_CPU_SELF.bid)
#define blockDim (CUDA_ON_CPU_SELF.bdim)
#define gridDim (CUDA_ON_CPU_SELF.gdim)
constexpr int warpSize = 32;
#define __syncthreads() ::cuda_on_cpu::sync_block(__LINE__)
#define CUDA_ON_CPU_2(m, ...) m
#define __syncwarp(...) ::cuda_on_cpu::sync_warp(CUDA_ON_CPU_2(__VA_ARGS__ __VA_OPT__(,) 0xffffffffu), __LINE__)
#define __shfl_down_sync(m, v, d, ...) ::cuda_on_cpu::shfl_down((m), (v), (d), CUDA_ON_CPU_2(__VA_ARGS__ __VA_OPT__(,) 32), __LINE__)
#define __shfl_up_sync(m, v, d, ...) ::cuda_on_cpu::shfl_up((m), (v), (d), CUDA_ON_CPU_2(__VA_ARGS__ __VA_OPT__(,) 32), __LINE__)
#define __shfl_xor_sync(m, v, d, ...) ::cuda_on_cpu::shfl_xor((m), (v), (d), CUDA_ON_CPU_2(__VA_ARGS__ __VA_OPT__(,) 32), __LINE__)
#define __shfl_sync(m, v, d, ...) ::cuda_on_cpu::shfl((m), (v), (d), CUDA_ON_CPU_2(__VA_ARGS__ __VA_OPT__(,) 32), __LINE__)
#define __ballot_sync(m, p) ::cuda_on_cpu::ballot((m), (p), __LINE__)
#define __any_sync(m, p) (::cuda_on_cpu::ballot((m), (p), __LINE__) != 0)
#define __all_sync(m, p) (::cuda_on_cpu::ballot((m), !(p), __LINE__) == 0)
inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void __threadfence_block() { __threadfence(); }

template <class V> inline V __ldg(const V* p) { return *p; }
#define CUDA_ON_CPU_ATOM(NAME, EXPR) template <class V> inline V NAME(V* p, std::type_identity_t<V> v) { std::atomic_ref<V> r(*p); \
  V old = r.load(std::memory_order_relaxed); while (!r.compare_exchange_weak(old, (EXPR), std::memory_order_relaxed)) {} return old; }
CUDA_ON_CPU_ATOM(atomicAdd, (V)(old + v)) CUDA_ON_CPU_ATOM(atomicSub, (V)(old - v)) CUDA_ON_CPU_ATOM(atomicMin, old < v ? old : v)
CUDA_ON_CPU_ATOM(atomicMax, old > v ? old : v) CUDA_ON_CPU_ATOM(atomicExch, v) CUDA_ON_CPU_ATOM(atomicOr, (V)(old | v)) CUDA_ON_CPU_ATOM(atomicAnd, (V)(old & v))
template <class V> inline V atomicCAS(V* p, std::type_identity_t<V> c, std::type_identity_t<V> v) { std::atomic_ref<V>(*p).compare_exchange_strong(c, v, std::memory_order_relaxed); return c; }
template <class A, class B> constexpr auto min(A a, B b) { using C = std::common_type_t<A, B>; return (C)a < (C)b ? (C)a : (C)b; }
template <class A, class B> constexpr auto max(A a, B b) { using C = std::common_type_t<A, B>; return (C)a > (C)b ? (C)a : (C)b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { volatile float r = a + b; return r; }
inline float __fmul_rn(float a, float b) { volatile float r = a * b; return r; }
inline float __fdividef(float a, float b) { return a / b; }
inline float rsqrtf(float a) { return 1.0f / std::sqrt(a); }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1.0f) : 0.0f; }
inline float __expf(float a) { return std::exp(a); } inline float __powf(float a, float b) { return std::pow(a, b); } inline float __logf(float a) { return std::log(a); }
inline int __float_as_int(float a) { return std::bit_cast<int>(a); } inline float __int_as_float(int a) { return std::bit_cast<float>(a); }
inline unsigned __float_as_uint(float a) { return std::bit_cast<unsigned>(a); } inline float __uint_as_float(unsigned a) { return std::bit_cast<float>(a); }
inline int __float2int_rn(float a) { return (int)std::nearbyintf(a); } inline int __popc(unsigned a) { return std::popcount(a); }
inline int __clz(int a) { return std::countl_zero((unsigned)a); } inline int __ffs(int a) { return __builtin_ffs(a); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
