// Runs a launch: one block after another, the threads of a block as fibers (fibers.h) or, with
// CUDA_ON_CPU_THREADS, as threads of the system (system_threads.h).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

// What race_check.cpp knows about the CUDA thread that is running.
struct cuda_on_cpu_Position {
  unsigned block, thread, barriers, meetings;
};
#if defined(CUDA_ON_CPU_RACE)
extern "C" cuda_on_cpu_Position cuda_on_cpu_position;
extern "C" void cuda_on_cpu_watch(const void* memory, size_t bytes, int shared);
extern "C" void cuda_on_cpu_forget_shared();
extern "C" const char* cuda_on_cpu_first_race();
#endif

namespace cuda_on_cpu {

constexpr unsigned WARP = 32;
constexpr char POISON = (char)0xFF;  // NaN, -1, 255
constexpr size_t GUARD = 240;        // bytes behind dynamic shared memory that must stay poison

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class State : uint8_t { ready, at_barrier, at_meeting, done };

struct Thread {
  uint3 index, block;
  unsigned rank = 0;  // in its block
  State state = State::ready;
  int line = 0;            // where it waits
  unsigned mask = 0;       // the lanes that must meet
  uint64_t exchanged = 0;  // what the lane shows to the others
  unsigned barriers = 0, meetings = 0;
};

struct Launch {
  dim3 grid, block;
  size_t shared;
  void (*call)(void* kernel, void** arguments);
  void* kernel;
  void** arguments;
  int order;  // 0 forward, 1 reverse, 2 random
  uint64_t seed;
  unsigned threads() const { return block.x * block.y * block.z; }
  size_t blocks() const { return (size_t)grid.x * grid.y * grid.z; }
  uint3 block_index(size_t number) const {
    return {(unsigned)(number % grid.x), (unsigned)(number / grid.x % grid.y),
            (unsigned)(number / grid.x / grid.y)};
  }
};

inline const Launch* running = nullptr;
inline std::vector<Thread> threads;    // of the block that runs
inline char* dynamic_shared = nullptr;
inline std::string failure;

inline void* dynamic_shared_memory() { return dynamic_shared; }
inline bool exists(unsigned rank) { return rank < threads.size(); }
inline bool finished(unsigned rank) { return !exists(rank) || threads[rank].state == State::done; }

// ---- shared memory: __shared__ variables are statics in a section of their own

extern "C" {
extern char __start_cushared[] __attribute__((weak));
extern char __stop_cushared[] __attribute__((weak));
}

__attribute__((no_sanitize("address", "thread"), noinline)) inline void poison_shared(size_t bytes) {
  for (volatile char* p = __start_cushared; p && p < __stop_cushared; ++p) *p = POISON;
#if !defined(__SANITIZE_ADDRESS__)
  bytes += GUARD;
#endif
  for (size_t i = 0; i < bytes; ++i) ((volatile char*)dynamic_shared)[i] = POISON;
}

inline void check_shared(size_t bytes) {
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = bytes; i < bytes + GUARD; ++i)
    if (dynamic_shared[i] != POISON)
      throw Error("write past the end of dynamic shared memory (byte " + std::to_string(i) +
                  " of " + std::to_string(bytes) + ")");
#endif
}

// AddressSanitizer sees the end of exactly `bytes`; others get a guard behind them.
inline std::unique_ptr<char, void (*)(void*)> allocate_shared(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  return {(char*)std::malloc(bytes ? bytes : 1), std::free};
#else
  return {(char*)std::aligned_alloc(16, (bytes + GUARD + 15) / 16 * 16), std::free};
#endif
}

inline void arrange(std::vector<size_t>& ranks, int order, std::mt19937_64& random) {
  if (order == 1) std::reverse(ranks.begin(), ranks.end());
  if (order == 2) std::shuffle(ranks.begin(), ranks.end(), random);
}

inline std::vector<size_t> arranged(size_t count, int order, std::mt19937_64& random) {
  std::vector<size_t> ranks(count);
  for (size_t i = 0; i < count; ++i) ranks[i] = i;
  arrange(ranks, order, random);
  return ranks;
}

inline void start_threads(const Launch& launch, size_t number) {
  for (unsigned rank = 0; rank < threads.size(); ++rank) {
    Thread& thread = threads[rank] = Thread{};
    const dim3& b = launch.block;
    thread.rank = rank;
    thread.block = launch.block_index(number);
    thread.index = {rank % b.x, rank / b.x % b.y, rank / (b.x * b.y)};
  }
}

}  // namespace cuda_on_cpu

#if defined(CUDA_ON_CPU_THREADS)
#include "system_threads.h"
#else
#include "fibers.h"
#endif

namespace cuda_on_cpu {

inline void launch(const Launch& launch) {
  failure.clear();
  running = &launch;
  threads.assign(launch.threads(), Thread{});
  auto memory = allocate_shared(launch.shared);
  dynamic_shared = memory.get();
#if defined(CUDA_ON_CPU_RACE)
  cuda_on_cpu_watch(dynamic_shared, launch.shared, 1);
  if (__start_cushared) cuda_on_cpu_watch(__start_cushared, __stop_cushared - __start_cushared, 1);
#endif
  run_blocks(launch);
}

// ---- what lanes show each other

inline unsigned lane() { return self->rank % WARP; }
inline unsigned first_lane() { return self->rank - lane(); }

// Calls use(lane, value) for every lane that the mask names.
template <class V, class Use>
void meet(unsigned mask, V value, int line, Use use) {
  static_assert(sizeof(V) <= 8 && std::is_trivially_copyable_v<V>);
  self->exchanged = 0;
  std::memcpy(&self->exchanged, &value, sizeof value);
  sync_warp(mask, line);
  for (unsigned other = 0; other < WARP; ++other)
    if ((mask >> other & 1) && exists(first_lane() + other)) {
      V shown;
      std::memcpy(&shown, &threads[first_lane() + other].exchanged, sizeof shown);
      use(other, shown);
    }
  sync_warp(mask, -line);  // until then nobody may show something new
}

template <class V>
V value_of_lane(unsigned mask, V value, int source, int line) {
  static_assert(std::is_arithmetic_v<V>, "CUDA shuffles numbers only");
  V result = value;
  meet(mask, value, line, [&](unsigned other, V shown) {
    if ((int)other == source) result = shown;
  });
  return result;
}

inline unsigned ballot(unsigned mask, bool vote, int line) {
  unsigned result = 0;
  meet(mask, (int)vote, line, [&](unsigned other, int voted) { result |= (unsigned)voted << other; });
  return result;
}

template <class V>
unsigned lanes_with_value(unsigned mask, V value, int line) {
  unsigned result = 0;
  meet(mask, value, line, [&](unsigned other, V shown) {
    if (shown == value) result |= 1u << other;
  });
  return result;
}

template <class V, class Combine>
V combined(unsigned mask, V value, int line, Combine combine) {
  static_assert(sizeof(V) == 4 && std::is_integral_v<V>, "CUDA reduces 32-bit integers only");
  V result{};
  bool first = true;
  meet(mask, value, line, [&](unsigned, V shown) {
    result = first ? shown : combine(result, shown);
    first = false;
  });
  return result;
}

inline int count_in_block(bool vote, int line) {
  self->exchanged = vote;
  sync_block(line);
  int result = 0;
  for (const Thread& thread : threads) result += (int)thread.exchanged;
  sync_block(-line);
  return result;
}

// ---- the parameters of a kernel as text, like "pv16c f4 i4": pointer, kind, size of the element,
// const

template <class P>
std::string described() {
  std::string kind = "v", size;
  using E = std::remove_pointer_t<P>;
  using V = std::remove_cv_t<E>;
  if constexpr (std::is_same_v<V, bool>) kind = "b";
  else if constexpr (std::is_floating_point_v<V>) kind = "f";
  else if constexpr (std::is_integral_v<V>) kind = std::is_signed_v<V> ? "i" : "u";
  if constexpr (std::is_void_v<V>) size = "0";
  else size = std::to_string(sizeof(V));
  if constexpr (!std::is_pointer_v<P>) return kind + size;
  return "p" + kind + size + (std::is_const_v<E> ? "c" : "");
}

template <class F>
struct Signature;
template <class... A>
struct Signature<void (*)(A...)> {
  static std::string text() {
    std::string result;
    ((result += described<std::remove_cv_t<A>>() + " "), ...);
    return result;
  }
  template <size_t... I>
  static void call_with(void* kernel, void** arguments, std::index_sequence<I...>) {
    ((void (*)(A...))kernel)(*(std::remove_cv_t<A>*)arguments[I]...);
  }
  static void call(void* kernel, void** arguments) {
    call_with(kernel, arguments, std::index_sequence_for<A...>{});
  }
};
}  // namespace cuda_on_cpu

#define CUDA_ON_CPU_EXPORTED extern "C" __attribute__((visibility("default")))
#define CUDA_ON_CPU_EXPORT(KERNEL)                                                                \
  CUDA_ON_CPU_EXPORTED const char* cuda_on_cpu_signature_##KERNEL() {                             \
    static std::string text = cuda_on_cpu::Signature<decltype(&KERNEL)>::text();                  \
    return text.c_str();                                                                          \
  }                                                                                               \
  CUDA_ON_CPU_EXPORTED int cuda_on_cpu_launch_##KERNEL(                                           \
      void** arguments, const unsigned* grid, const unsigned* block, size_t shared, int order,    \
      uint64_t seed, char* message, size_t room) {                                                \
    cuda_on_cpu::Launch launch{dim3(grid[0], grid[1], grid[2]),                                   \
                               dim3(block[0], block[1], block[2]),                                \
                               shared,                                                            \
                               &cuda_on_cpu::Signature<decltype(&KERNEL)>::call,                  \
                               (void*)&KERNEL,                                                    \
                               arguments,                                                         \
                               order,                                                             \
                               seed};                                                             \
    try {                                                                                         \
      cuda_on_cpu::launch(launch);                                                                \
      return 0;                                                                                   \
    } catch (const std::exception& error) {                                                       \
      std::snprintf(message, room, "%s", error.what());                                           \
      return 1;                                                                                   \
    }                                                                                             \
  }
