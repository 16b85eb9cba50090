// What block_runner.cpp tells race_check.cpp: which thread runs, and which memory is shared.
#pragma once
#include <cstddef>

namespace cuda_on_cpu {
struct Position {
  unsigned block, thread, barriers, meetings;
};
#if defined(CUDA_ON_CPU_RACE)
extern Position position;
void watch_shared(const void* memory, size_t bytes);
void forget_shared();
const char* first_race();
#else
inline void watch_shared(const void*, size_t) {}
inline void forget_shared() {}
inline const char* first_race() { return ""; }
#endif
}  // namespace cuda_on_cpu
