// Runs a launch: one block after another (or side by side), the threads of a block as fibers (fibers.h) or, with
// CUDA_ON_CPU_THREADS, as threads of the system (system_threads.h).
#include "cuda_on_cpu.h"
#undef __noinline__  // the standard headers use it

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "race_check.h"

namespace cuda_on_cpu {

constexpr char POISON = (char)0xFF;  // NaN, -1, 255
constexpr size_t GUARD = 240;        // bytes behind dynamic shared memory that must stay poison

struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

const Launch* running = nullptr;
Thread* threads = nullptr;
unsigned thread_count = 0;
char* dynamic_shared = nullptr;
std::string failure;

// ---- shared memory: __shared__ variables are statics in a section of their own

extern "C" {
extern char __start_cushared[] __attribute__((weak, visibility("hidden")));
extern char __stop_cushared[] __attribute__((weak, visibility("hidden")));
}

__attribute__((no_sanitize("address", "thread"), noinline)) void poison_shared(size_t bytes) {
  for (volatile char* p = __start_cushared; p && p < __stop_cushared; ++p) *p = POISON;
#if !defined(__SANITIZE_ADDRESS__)
  bytes += GUARD;
#endif
  for (size_t i = 0; i < bytes; ++i) ((volatile char*)dynamic_shared)[i] = POISON;
}

void check_shared(size_t bytes) {
#if !defined(__SANITIZE_ADDRESS__)
  for (size_t i = bytes; i < bytes + GUARD; ++i)
    if (dynamic_shared[i] != POISON)
      throw Error("write past the end of dynamic shared memory (byte " + std::to_string(i) +
                  " of " + std::to_string(bytes) + ")");
#endif
}

__attribute__((no_sanitize("address", "thread"))) bool static_shared_is_untouched() {
  return std::all_of(__start_cushared, __stop_cushared, [](char c) { return c == POISON; });
}

// AddressSanitizer sees the end of exactly `bytes`; others get a guard behind them.
struct DynamicShared {
  explicit DynamicShared(size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    dynamic_shared = (char*)malloc(bytes ? bytes : 1);
#else
    dynamic_shared = (char*)aligned_alloc(16, (bytes + GUARD + 15) / 16 * 16);
#endif
  }
  DynamicShared(const DynamicShared&) = delete;
  ~DynamicShared() { free(dynamic_shared); }
};

// ---- schedules

// Marsaglia's xorshift.
struct Random {
  uint64_t state;
  explicit Random(uint64_t seed) : state(seed * 0x9E3779B97F4A7C15u | 1) {}
  size_t below(size_t limit) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % limit;
  }
};

void arrange(std::vector<size_t>& ranks, int order, Random& random) {
  if (order == 1) std::reverse(ranks.begin(), ranks.end());
  if (order >= 2)
    for (size_t i = ranks.size(); i > 1; --i) std::swap(ranks[i - 1], ranks[random.below(i)]);
}

std::vector<size_t> arranged(size_t count, int order, Random& random) {
  std::vector<size_t> ranks(count);
  for (size_t i = 0; i < count; ++i) ranks[i] = i;
  arrange(ranks, order, random);
  return ranks;
}

size_t block_count(const Launch& launch) {
  return (size_t)launch.grid.x * launch.grid.y * launch.grid.z;
}

void start_threads(const Launch& launch, size_t block) {
  const dim3 &g = launch.grid, &b = launch.block;
  for (unsigned rank = 0; rank < thread_count; ++rank) {
    Thread& thread = threads[rank] = Thread{};
    thread.rank = rank;
    thread.block = {(unsigned)(block % g.x), (unsigned)(block / g.x % g.y),
                    (unsigned)(block / g.x / g.y)};
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

void run_checked(const Launch& launch) {
  failure.clear();
  running = &launch;
  std::vector<Thread> all(launch.block.x * launch.block.y * launch.block.z);
  threads = all.data();
  thread_count = (unsigned)all.size();
  DynamicShared memory(launch.shared);
  watch_shared(dynamic_shared, launch.shared);
  if (__start_cushared) watch_shared(__start_cushared, __stop_cushared - __start_cushared);
  run_blocks(launch);
}

// All that the kernels of this library declare.
CUDA_ON_CPU_EXPORTED size_t cuda_on_cpu_static_shared() {
  return __start_cushared ? __stop_cushared - __start_cushared : 0;
}

int run(const Launch& launch, char* message, size_t room) {
  try {
    run_checked(launch);
    return 0;
  } catch (const std::exception& error) {
    snprintf(message, room, "%s", error.what());
    return 1;
  }
}
}  // namespace cuda_on_cpu
