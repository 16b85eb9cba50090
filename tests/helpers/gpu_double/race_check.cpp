// Finds data races of a kernel whose threads run as fibers: exactly, and in blocks that never ran at
// the same time. g++ -fsanitize=thread puts a call before every access; these are the functions
// called, in place of ThreadSanitizer's. Compile this file without -fsanitize.
//
// Two accesses to the same byte, one of them a write and not both atomic, are a race
// - in a block: unless it is one thread, or a barrier or (in a warp) a warp operation lies between;
// - of two blocks: unless a thread that comes after the first access called __threadfence() and then
//   wrote atomically what a thread read atomically that then called __threadfence() and comes before
//   the second access; also by way of further blocks.
#define CUDA_ON_CPU_RACE
#include "race_check.h"

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

namespace cuda_on_cpu {
Position position;

namespace {

struct Access {
  Position by;
  uintptr_t code;  // the caller; 0: there was no access
  bool atomic;
  uint64_t time;
};

// A fence: what came before it, in its block, was seen by whoever knows of the fence.
struct Fence {
  Position by;
  uint64_t time;
};
using Fences = std::map<std::pair<unsigned, unsigned>, Fence>;  // the last of each block and thread

struct Knowledge {
  Position since;
  Fences of;
};

uint64_t now_is = 0;
bool any_fence = false;
std::map<uintptr_t, Fences> published;                       // by what was last written there
std::map<std::pair<unsigned, unsigned>, Fences> seen;        // by a thread since its last fence
std::map<std::pair<unsigned, unsigned>, Fences> to_publish;  // by a thread since its last fence
std::map<unsigned, std::vector<Knowledge>> knowledge;        // of the threads of a block

struct Shadow {
  Access write, reads[2];  // reads are of two threads
};

struct Region {
  uintptr_t first, last;
  Shadow* shadows;
  bool shared;
};

constexpr int MOST_REGIONS = 64;
Region regions[MOST_REGIONS];
int region_count = 0;
char report[400];

bool ordered_in_block(const Position& before, const Position& now) {
  if (before.thread == now.thread || before.barriers != now.barriers) return true;
  return before.thread / 32 == now.thread / 32 && before.meetings != now.meetings;
}

bool ordered(const Access& before, const Position& now) {
  if (before.by.block == now.block) return ordered_in_block(before.by, now);
  for (const Knowledge& known : knowledge[now.block])
    if (ordered_in_block(known.since, now))
      for (const auto& [owner, fence] : known.of)
        if (owner.first == before.by.block && before.time < fence.time &&
            ordered_in_block(before.by, fence.by))
          return true;
  return false;
}

void add(Fences& all, const Fences& more) {
  for (const auto& [owner, fence] : more)
    if (Fence& last = all[owner]; last.time < fence.time) last = fence;
}

void pass_fence() {
  any_fence = true;
  const Position now = position;
  const auto owner = std::make_pair(now.block, now.thread);
  Fences all;
  if (Fences found = std::exchange(seen[owner], {}); !found.empty())
    knowledge[now.block].push_back({now, found});
  for (const Knowledge& known : knowledge[now.block])
    if (ordered_in_block(known.since, now)) add(all, known.of);
  all[owner] = {now, ++now_is};
  to_publish[owner] = all;
}

// What an atomic read learns of other threads' fences.
void learn(const volatile void* p) {
  if (any_fence) add(seen[{position.block, position.thread}], published[(uintptr_t)p]);
}

// What an atomic write tells of them; one that also reads keeps what was told before.
void tell(const volatile void* p, bool reads) {
  if (!any_fence) return;
  Fences& there = published[(uintptr_t)p];
  if (!reads) there.clear();
  add(there, to_publish[{position.block, position.thread}]);
}

uintptr_t offset_in_library(uintptr_t code) {
  Dl_info info;
  return dladdr((void*)code, &info) ? code - (uintptr_t)info.dli_fbase : code;
}

void complain(const Region& region, uintptr_t byte, const Access& before, bool wrote,
              const Access& now, bool writes) {
  if (report[0]) return;
  std::snprintf(report, sizeof report,
                "race: block %u thread %u %s byte %zu of %s memory at @%zx@, "
                "block %u thread %u %s it at @%zx@",
                now.by.block, now.by.thread, writes ? "writes" : "reads",
                (size_t)(byte - region.first), region.shared ? "shared" : "global",
                (size_t)offset_in_library(now.code), before.by.block, before.by.thread,
                wrote ? "wrote" : "read", (size_t)offset_in_library(before.code));
}

void check(const Region& region, uintptr_t byte, const Access& before, bool wrote,
           const Access& now, bool writes) {
  if (before.code && !(before.atomic && now.atomic) && !ordered(before, now.by))
    complain(region, byte, before, wrote, now, writes);
}

void note_read(Shadow& shadow, const Access& now) {
  bool same_thread = shadow.reads[0].code && shadow.reads[0].by.block == now.by.block &&
                     shadow.reads[0].by.thread == now.by.thread;
  if (shadow.reads[0].code && !same_thread) shadow.reads[1] = shadow.reads[0];
  shadow.reads[0] = now;
}

void touch(const Region& region, uintptr_t byte, const Access& now, bool writes) {
  Shadow& shadow = region.shadows[byte - region.first];
  check(region, byte, shadow.write, true, now, writes);
  if (!writes) return note_read(shadow, now);
  for (const Access& read : shadow.reads) check(region, byte, read, false, now, writes);
  shadow.write = now;
}

void access(const void* address, size_t bytes, bool writes, bool atomic, void* code) {
  uintptr_t first = (uintptr_t)address;
  for (int i = 0; i < region_count; ++i) {
    const Region& region = regions[i];
    if (first < region.first || first >= region.last) continue;
    Access now{position, (uintptr_t)code, atomic, ++now_is};
    for (uintptr_t byte = first; byte < first + bytes && byte < region.last; ++byte)
      touch(region, byte, now, writes);
    return;
  }
}

void watch(const void* memory, size_t bytes, bool shared) {
  if (!bytes || region_count == MOST_REGIONS) return;
  uintptr_t first = (uintptr_t)memory;
  for (int i = 0; i < region_count; ++i)
    if (regions[i].first <= first && first < regions[i].last) return;
  auto shadows = (Shadow*)std::calloc(bytes, sizeof(Shadow));
  if (shadows) regions[region_count++] = {first, first + bytes, shadows, shared};
}
}  // namespace

void watch_shared(const void* memory, size_t bytes) { watch(memory, bytes, true); }

// Shared memory begins anew with every block.
void forget_shared() {
  for (int i = 0; i < region_count; ++i)
    if (regions[i].shared)
      std::memset((void*)regions[i].shadows, 0,
                  (regions[i].last - regions[i].first) * sizeof(Shadow));
}

const char* first_race() { return report; }
}  // namespace cuda_on_cpu

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED void cuda_on_cpu_watch(const void* memory, size_t bytes) {
  cuda_on_cpu::watch(memory, bytes, false);
}

EXPORTED void cuda_on_cpu_forget() {
  using namespace cuda_on_cpu;
  for (int i = 0; i < region_count; ++i) std::free(regions[i].shadows);
  region_count = 0;
  report[0] = 0;
  any_fence = false;
  published.clear();
  seen.clear();
  to_publish.clear();
  knowledge.clear();
}

#define HERE __builtin_return_address(0)
using cuda_on_cpu::access;
using cuda_on_cpu::learn;
using cuda_on_cpu::tell;

extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_read_range(void* p, size_t bytes) { access(p, bytes, false, false, HERE); }
void __tsan_write_range(void* p, size_t bytes) { access(p, bytes, true, false, HERE); }
void __tsan_atomic_thread_fence(int) { cuda_on_cpu::pass_fence(); }
void __tsan_atomic_signal_fence(int) {}

// Volatile accesses count as atomic: kernels use them to look at what other threads write.
#define PLAIN(N)                                                                        \
  void __tsan_read##N(void* p) { access(p, N, false, false, HERE); }                    \
  void __tsan_write##N(void* p) { access(p, N, true, false, HERE); }                    \
  void __tsan_unaligned_read##N(void* p) { access(p, N, false, false, HERE); }          \
  void __tsan_unaligned_write##N(void* p) { access(p, N, true, false, HERE); }          \
  void __tsan_volatile_read##N(void* p) {                                               \
    access(p, N, false, true, HERE);                                                    \
    learn(p);                                                                           \
  }                                                                                     \
  void __tsan_volatile_write##N(void* p) {                                              \
    access(p, N, true, true, HERE);                                                     \
    tell(p, false);                                                                     \
  }                                                                                     \
  void __tsan_unaligned_volatile_read##N(void* p) { access(p, N, false, true, HERE); }  \
  void __tsan_unaligned_volatile_write##N(void* p) { access(p, N, true, true, HERE); }
PLAIN(1) PLAIN(2) PLAIN(4) PLAIN(8) PLAIN(16)

// Only what cuda_on_cpu.h uses; anything else does not link.
#define ATOMIC(BITS, T)                                                                       \
  T __tsan_atomic##BITS##_load(const volatile T* p, int) {                                    \
    access((const void*)p, sizeof(T), false, true, HERE);                                     \
    learn(p);                                                                                 \
    return *p;                                                                                \
  }                                                                                           \
  int __tsan_atomic##BITS##_compare_exchange_strong(volatile T* p, T* expected, T value, int, \
                                                    int) {                                    \
    access((const void*)p, sizeof(T), true, true, HERE);                                      \
    if (*p == *expected) {                                                                    \
      tell(p, true);                                                                          \
      *p = value;                                                                             \
      return 1;                                                                               \
    }                                                                                         \
    *expected = *p;                                                                           \
    return 0;                                                                                 \
  }                                                                                           \
  int __tsan_atomic##BITS##_compare_exchange_weak(volatile T* p, T* expected, T value, int a, \
                                                  int b) {                                    \
    return __tsan_atomic##BITS##_compare_exchange_strong(p, expected, value, a, b);           \
  }
ATOMIC(8, uint8_t) ATOMIC(16, uint16_t) ATOMIC(32, uint32_t) ATOMIC(64, uint64_t)
}
