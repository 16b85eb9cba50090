// The threads of a block as threads of the system, which ThreadSanitizer can watch.
#pragma once
#include <barrier>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

namespace cuda_on_cpu {

__thread Thread* self = nullptr;
std::unique_ptr<std::barrier<>> block_barrier;
std::mutex meetings_lock;
std::map<std::pair<unsigned, unsigned>, std::unique_ptr<std::barrier<>>> meetings;

// A program that throws here ends.
void sleep(int line) { throw Error("sleeping for another block in line " + std::to_string(line)); }
void sync_block(int) { block_barrier->arrive_and_wait(); }

void sync_warp(unsigned mask, int) {
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

void run_blocks(const Launch& launch) {
  std::barrier<> everybody(thread_count + 1);
  std::vector<std::thread> workers;
  for (size_t rank = 0; rank < thread_count; ++rank)
    workers.emplace_back([&, rank] {
      for (size_t block = 0; block < block_count(launch); ++block) {
        everybody.arrive_and_wait();
        self = &threads[rank];
        launch.call(launch.kernel, launch.arguments);
        block_barrier->arrive_and_drop();  // who returned is not waited for; fibers object to it
        everybody.arrive_and_wait();
      }
    });
  for (size_t block = 0; block < block_count(launch); ++block) {
    block_barrier = std::make_unique<std::barrier<>>(thread_count);
    meetings.clear();
    poison_shared(launch.shared);
    start_threads(launch, block);
    everybody.arrive_and_wait();
    everybody.arrive_and_wait();
  }
  for (std::thread& worker : workers) worker.join();
  check_shared(launch.shared);
}
}  // namespace cuda_on_cpu
