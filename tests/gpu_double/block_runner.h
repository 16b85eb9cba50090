// Runs a launch: one block after another, the threads of a block as fibers (default) or, with
// CUDA_ON_CPU_THREADS, as threads of the system, which ThreadSanitizer can watch.
//
// A fiber runs until its CUDA thread ends, or waits at a barrier or for its warp. When all wait,
// those whose meeting is complete go on; if none is, the kernel is wrong, and the launch fails.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

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

#if !defined(CUDA_ON_CPU_THREADS)
// ---- fibers

constexpr size_t STACK = 256 * 1024;

struct Fiber {
  ucontext_t context;
  jmp_buf jump;
  std::unique_ptr<char[]> stack{new char[STACK]};
  bool started = false;
  Thread* thread = nullptr;
  void* fake_stack = nullptr;
};

inline Thread* self = nullptr;
inline Fiber* current = nullptr;
inline std::deque<Fiber> fibers;
inline std::vector<Fiber*> idle;
inline std::vector<Fiber*> fiber_of;  // by rank; null while the thread is not suspended
inline ucontext_t scheduler_context;
inline jmp_buf scheduler_jump;
inline void* scheduler_fake_stack;
inline const void* scheduler_stack;
inline size_t scheduler_stack_size;
inline std::vector<size_t> to_start;
inline size_t next_to_start = 0;
inline unsigned block_number = 0;

inline void now_running(Thread* thread) {
  self = thread;
#if defined(CUDA_ON_CPU_RACE)
  cuda_on_cpu_position = {block_number, thread->rank, thread->barriers, thread->meetings};
#endif
}

// Switching costs a system call with swapcontext, none with longjmp; AddressSanitizer wants the
// former.
inline void switch_to_scheduler() {
#if defined(__SANITIZE_ADDRESS__)
  Fiber* fiber = current;
  __sanitizer_start_switch_fiber(&fiber->fake_stack, scheduler_stack, scheduler_stack_size);
  swapcontext(&fiber->context, &scheduler_context);
  __sanitizer_finish_switch_fiber(fiber->fake_stack, &scheduler_stack, &scheduler_stack_size);
#else
  if (!_setjmp(current->jump)) _longjmp(scheduler_jump, 1);
#endif
}

// A fiber takes one fresh CUDA thread after another until one of them has to wait.
inline void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_stack_size);
#endif
  for (;;) {
    while (failure.empty() && next_to_start < to_start.size()) {
      Thread& thread = threads[to_start[next_to_start++]];
      fiber_of[thread.rank] = current;
      current->thread = &thread;
      now_running(&thread);
      try {
        running->call(running->kernel, running->arguments);
      } catch (const std::exception& error) {
        failure = error.what();
      }
      thread.state = State::done;
      fiber_of[thread.rank] = nullptr;
      current->thread = nullptr;
      if (thread.line) break;  // it had waited, so the scheduler's second phase is on
    }
    idle.push_back(current);
    switch_to_scheduler();
  }
}

inline void prepare(Fiber& fiber) {
  fiber.started = true;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, (void (*)())fiber_main, 0);
}

inline void resume(Fiber* fiber) {
  current = fiber;
  if (fiber->thread) now_running(fiber->thread);
#if defined(__SANITIZE_ADDRESS__)
  if (!fiber->started) prepare(*fiber);
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber->stack.get(), STACK);
  swapcontext(&scheduler_context, &fiber->context);
  __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#else
  if (_setjmp(scheduler_jump)) return;
  if (fiber->started) _longjmp(fiber->jump, 1);
  prepare(*fiber);
  setcontext(&fiber->context);
#endif
}

inline Fiber* idle_fiber() {
  if (idle.empty()) return &fibers.emplace_back();
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

inline void wait(State state, int line, unsigned mask) {
  self->state = state;
  self->line = line;
  self->mask = mask;
  switch_to_scheduler();
  if (!failure.empty()) throw Error(failure);
}

inline void sync_block(int line) { wait(State::at_barrier, line, 0); }
inline void sync_warp(unsigned mask, int line) { wait(State::at_meeting, line, mask); }

inline std::string at(int line) { return " in line " + std::to_string(std::abs(line)); }

// Every living thread waits at a barrier: is it the same one, and is nobody missing?
inline void check_barrier(unsigned alive) {
  int line = 0;
  for (const Thread& thread : threads) {
    if (thread.state == State::done) continue;
    if (line && line != thread.line)
      failure = "barrier divergence: threads of one block wait at different __syncthreads()," +
                at(line) + " and" + at(thread.line);
    line = thread.line;
  }
  if (alive != threads.size())
    failure = "barrier divergence: " + std::to_string(threads.size() - alive) +
              " thread(s) of the block returned while " + std::to_string(alive) +
              " wait at __syncthreads()" + at(line);
}

// Whether all lanes that the thread's mask names have come to the same place.
inline bool meeting_is_complete(const Thread& thread) {
  unsigned first = thread.rank / WARP * WARP;
  if (!(thread.mask >> (thread.rank - first) & 1)) {
    failure = "warp operation: the calling lane is not in its mask" + at(thread.line);
    return false;
  }
  for (unsigned lane = 0; lane < WARP; ++lane) {
    if (!(thread.mask >> lane & 1)) continue;
    if (finished(first + lane)) {
      failure = "warp operation: the mask names an exited or absent lane" + at(thread.line);
      return false;
    }
    const Thread& other = threads[first + lane];
    if (other.state != State::at_meeting || other.line != thread.line ||
        other.mask != thread.mask)
      return false;
  }
  return true;
}

// The threads that may go on, all others having to wait.
inline std::vector<size_t> released() {
  std::vector<size_t> result;
  unsigned alive = 0, at_barrier = 0;
  for (const Thread& thread : threads) {
    alive += thread.state != State::done;
    at_barrier += thread.state == State::at_barrier;
  }
  if (alive && alive == at_barrier) {
    check_barrier(alive);
    for (Thread& thread : threads)
      if (thread.state == State::at_barrier) {
        ++thread.barriers;
        result.push_back(thread.rank);
      }
    return result;
  }
  int line = 0;
  for (Thread& thread : threads) {
    if (thread.state != State::at_meeting) continue;
    line = thread.line;
    if (meeting_is_complete(thread)) result.push_back(thread.rank);
  }
  for (size_t rank : result) ++threads[rank].meetings;
  if (alive && result.empty() && failure.empty())
    failure = "deadlock: a warp operation never gets all lanes of its mask" + at(line);
  return result;
}

inline void run_threads(const Launch& launch, std::mt19937_64& random) {
  fiber_of.assign(threads.size(), nullptr);
  to_start = arranged(threads.size(), launch.order, random);
  next_to_start = 0;
  while (next_to_start < to_start.size() && failure.empty()) resume(idle_fiber());
  while (failure.empty()) {
    std::vector<size_t> next = released();
    if (next.empty() || !failure.empty()) break;
    for (size_t rank : next) threads[rank].state = State::ready;
    arrange(next, launch.order, random);
    for (size_t rank : next) {
      resume(fiber_of[rank]);
      if (!failure.empty()) break;
    }
  }
  if (!failure.empty())  // unwind what is suspended, so that destructors run
    for (Fiber* fiber : std::vector<Fiber*>(fiber_of))
      if (fiber) resume(fiber);
}

inline void run_blocks(const Launch& launch) {
  std::mt19937_64 random(launch.seed);
  for (size_t number : arranged(launch.blocks(), launch.order, random)) {
    block_number = (unsigned)number;
    poison_shared(launch.shared);
    start_threads(launch, number);
    run_threads(launch, random);
    if (failure.empty()) check_shared(launch.shared);
#if defined(CUDA_ON_CPU_RACE)
    if (failure.empty()) failure = cuda_on_cpu_first_race();
    cuda_on_cpu_forget_shared();
#endif
    if (failure.empty()) continue;
    idle.clear();
    fibers.clear();
    throw Error(failure + " [block " + std::to_string(number) + "]");
  }
}

#else
// ---- threads of the system

inline thread_local Thread* self = nullptr;
inline std::unique_ptr<std::barrier<>> block_barrier;
inline std::mutex meetings_lock;
inline std::map<std::pair<unsigned, unsigned>, std::unique_ptr<std::barrier<>>> meetings;

inline void sync_block(int) { block_barrier->arrive_and_wait(); }

inline void sync_warp(unsigned mask, int) {
  unsigned warp = self->rank / WARP, lanes = 0;
  for (unsigned lane = 0; lane < WARP; ++lane)
    lanes += (mask >> lane & 1) && exists(warp * WARP + lane);
  std::barrier<>* meeting;
  {
    std::lock_guard<std::mutex> guard(meetings_lock);
    auto& entry = meetings[{warp, mask}];
    if (!entry) entry = std::make_unique<std::barrier<>>(lanes);
    meeting = entry.get();
  }
  meeting->arrive_and_wait();
}

inline void run_blocks(const Launch& launch) {
  std::barrier<> everybody(threads.size() + 1);
  std::vector<std::thread> workers;
  for (size_t rank = 0; rank < threads.size(); ++rank)
    workers.emplace_back([&, rank] {
      for (size_t block = 0; block < launch.blocks(); ++block) {
        everybody.arrive_and_wait();
        self = &threads[rank];
        launch.call(launch.kernel, launch.arguments);
        block_barrier->arrive_and_drop();  // who returned is not waited for; fibers object to it
        everybody.arrive_and_wait();
      }
    });
  for (size_t block = 0; block < launch.blocks(); ++block) {
    block_barrier = std::make_unique<std::barrier<>>(threads.size());
    meetings.clear();
    poison_shared(launch.shared);
    start_threads(launch, block);
    everybody.arrive_and_wait();
    everybody.arrive_and_wait();
  }
  for (std::thread& worker : workers) worker.join();
  check_shared(launch.shared);
}
#endif

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
