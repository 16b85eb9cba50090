// What a kernel sees of the machinery that runs it (block_runner.cpp). Few standard headers: g++
// reads this again for every kernel.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <type_traits>
#include <utility>

namespace cuda_on_cpu {

constexpr unsigned WARP = 32;

enum class State : uint8_t { ready, at_barrier, at_meeting, asleep, done };

struct Thread {
  uint3 index, block;
  unsigned rank = 0;  // in its block
  State state = State::ready;
  int line = 0;            // where it waits
  unsigned mask = 0;       // the lanes that must meet
  uint64_t exchanged = 0;  // what the lane is about to show to the others
  uint64_t shown = 0;      // and what it showed when they last met
  unsigned barriers = 0, meetings = 0;
};

struct Launch {
  dim3 grid, block;
  size_t shared;
  void (*call)(void* kernel, void** arguments);
  void* kernel;
  void** arguments;
  int order;  // 0 forward, 1 reverse, 2 random, 3 random with blocks side by side
  uint64_t seed;
};

#if defined(CUDA_ON_CPU_THREADS)
extern __thread Thread* self;
#else
extern Thread* self;
#endif
extern const Launch* running;
extern Thread* threads;  // of the block that runs
extern unsigned thread_count;
extern char* dynamic_shared;

void sync_block(int line);
void sync_warp(unsigned mask, int line);
void sleep(int line);
int run(const Launch& launch, char* message, size_t room);

inline void* dynamic_shared_memory() { return dynamic_shared; }
inline bool exists(unsigned rank) { return rank < thread_count; }
inline unsigned lane() { return self->rank % WARP; }
inline unsigned first_lane() { return self->rank - lane(); }

// ---- what lanes show each other

template <class V>
void show(unsigned mask, V value, int line) {
  static_assert(sizeof(V) <= 8 && std::is_trivially_copyable_v<V>);
  self->exchanged = 0;
  memcpy(&self->exchanged, &value, sizeof value);
#if defined(CUDA_ON_CPU_THREADS)
  self->shown = self->exchanged;
#endif
  sync_warp(mask, line);
}

// Until then nobody may show something new. Fibers read before anybody meets again.
inline void have_seen([[maybe_unused]] unsigned mask, [[maybe_unused]] int line) {
#if defined(CUDA_ON_CPU_THREADS)
  sync_warp(mask, -line);
#endif
}

template <class V>
V shown_by(unsigned other) {
  V value;
  memcpy(&value, &threads[first_lane() + other].shown, sizeof value);
  return value;
}

// Calls use(lane, value) for every lane that the mask names.
template <class V, class Use>
void meet(unsigned mask, V value, int line, Use use) {
  show(mask, value, line);
  for (unsigned other = 0; other < WARP; ++other)
    if ((mask >> other & 1) && exists(first_lane() + other)) use(other, shown_by<V>(other));
  have_seen(mask, line);
}

template <class V>
V value_of_lane(unsigned mask, V value, int source, int line) {
  static_assert(std::is_arithmetic_v<V>, "CUDA shuffles numbers only");
  show(mask, value, line);
  bool is_there = (mask >> source & 1) && exists(first_lane() + (unsigned)source);
  V result = is_there ? shown_by<V>((unsigned)source) : value;
  have_seen(mask, line);
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
  for (unsigned rank = 0; rank < thread_count; ++rank) result += (int)threads[rank].exchanged;
  sync_block(-line);
  return result;
}

// ---- the parameters of a kernel as text, like "pv16c f4 i4": pointer, kind, size of the element,
// const

template <class P>
void describe(char*& text) {
  using E = std::remove_pointer_t<P>;
  using V = std::remove_cv_t<E>;
  char kind = std::is_same_v<V, bool>         ? 'b'
              : std::is_floating_point_v<V>   ? 'f'
              : !std::is_integral_v<V>        ? 'v'
              : std::is_signed_v<V>           ? 'i'
                                              : 'u';
  size_t size = 0;
  if constexpr (!std::is_void_v<V>) size = sizeof(V);
  bool pointer = std::is_pointer_v<P>;
  text += sprintf(text, "%s%c%zu%s ", pointer ? "p" : "", kind, size,
                  pointer && std::is_const_v<E> ? "c" : "");
}

template <class F>
struct Signature;
template <class... A>
struct Signature<void (*)(A...)> {
  static const char* text() {
    static char result[16 * sizeof...(A) + 1];
    char* end = result;
    (describe<std::remove_cv_t<A>>(end), ...);
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
#define CUDA_ON_CPU_EXPORT(KERNEL, MOST_THREADS)                                                \
  CUDA_ON_CPU_EXPORTED const char* cuda_on_cpu_signature_##KERNEL() {                           \
    return cuda_on_cpu::Signature<decltype(&KERNEL)>::text();                                   \
  }                                                                                             \
  CUDA_ON_CPU_EXPORTED int cuda_on_cpu_bound_##KERNEL() { return MOST_THREADS; }                \
  CUDA_ON_CPU_EXPORTED int cuda_on_cpu_launch_##KERNEL(                                         \
      void** arguments, const unsigned* grid, const unsigned* block, size_t shared, int order,  \
      uint64_t seed, char* message, size_t room) {                                              \
    cuda_on_cpu::Launch launch{dim3(grid[0], grid[1], grid[2]),                                 \
                               dim3(block[0], block[1], block[2]),                              \
                               shared,                                                          \
                               &cuda_on_cpu::Signature<decltype(&KERNEL)>::call,                \
                               (void*)&KERNEL,                                                  \
                               arguments,                                                       \
                               order,                                                           \
                               seed};                                                           \
    return cuda_on_cpu::run(launch, message, room);                                             \
  }
