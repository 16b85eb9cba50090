// The threads of a block as fibers.
//
// A fiber runs until its CUDA thread ends, or waits at a barrier or for its warp. When all wait,
// those whose meeting is complete go on; if none is, the kernel is wrong, and the launch fails.
//
// Blocks run one after another; or, with order 3, side by side: whose turn it is is drawn again
// whenever all threads of a block wait.
#pragma once
#include <setjmp.h>
#include <ucontext.h>

#include <deque>
#include <span>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_on_cpu {

std::span<Thread> all_threads() { return {threads, thread_count}; }
bool finished(unsigned rank) { return !exists(rank) || threads[rank].state == State::done; }

constexpr size_t STACK = 256 * 1024;

struct Fiber {
  ucontext_t context;
  jmp_buf jump;
  char* stack = (char*)malloc(STACK);
  bool started = false;
  Thread* thread = nullptr;
  void* fake_stack = nullptr;
  Fiber() = default;
  Fiber(const Fiber&) = delete;
  ~Fiber() { free(stack); }
};

Thread* self = nullptr;
Fiber* current = nullptr;
std::deque<Fiber> fibers;
std::vector<Fiber*> idle;
std::vector<Fiber*> fiber_of;  // by rank; null while the thread is not suspended
ucontext_t scheduler_context;
jmp_buf scheduler_jump;
void* scheduler_fake_stack;
const void* scheduler_stack;
size_t scheduler_stack_size;
std::vector<size_t> to_start;
size_t next_to_start = 0;
unsigned block_number = 0;
size_t turns_asleep = 0;  // in a row, in which threads did nothing but wake and sleep again

constexpr int SIDE_BY_SIDE = 3;
constexpr size_t MOST_ASLEEP = 100000;

void now_running(Thread* thread) {
  self = thread;
#if defined(CUDA_ON_CPU_RACE)
  position = {block_number, thread->rank, thread->barriers, thread->meetings};
#endif
}

// Switching costs a system call with swapcontext, none with longjmp; AddressSanitizer wants the
// former.
void switch_to_scheduler() {
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
void fiber_main() {
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

void prepare(Fiber& fiber) {
  fiber.started = true;
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack;
  fiber.context.uc_stack.ss_size = STACK;
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, (void (*)())fiber_main, 0);
}

void resume(Fiber* fiber) {
  current = fiber;
  if (fiber->thread) now_running(fiber->thread);
#if defined(__SANITIZE_ADDRESS__)
  if (!fiber->started) prepare(*fiber);
  __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber->stack, STACK);
  swapcontext(&scheduler_context, &fiber->context);
  __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
#else
  if (_setjmp(scheduler_jump)) return;
  if (fiber->started) _longjmp(fiber->jump, 1);
  prepare(*fiber);
  setcontext(&fiber->context);
#endif
}

Fiber* idle_fiber() {
  if (idle.empty()) return &fibers.emplace_back();
  Fiber* fiber = idle.back();
  idle.pop_back();
  return fiber;
}

void wait(State state, int line, unsigned mask) {
  self->state = state;
  self->line = line;
  self->mask = mask;
  switch_to_scheduler();
  if (!failure.empty()) throw Error(failure);
}

void sync_block(int line) { wait(State::at_barrier, line, 0); }
void sync_warp(unsigned mask, int line) { wait(State::at_meeting, line, mask); }

std::string at(int line) { return " in line " + std::to_string(abs(line)); }

// A block must not wait for one that could come later: there may be no room for both on a device.
void sleep(int line) {
  if (running->order != SIDE_BY_SIDE)
    throw Error("deadlock: a thread sleeps for what no block before does," + at(line));
  wait(State::asleep, line, 0);
}

// Every living thread waits at a barrier: is it the same one, and is nobody missing?
void check_barrier(unsigned alive) {
  int line = 0;
  for (const Thread& thread : all_threads()) {
    if (thread.state == State::done) continue;
    if (line && line != thread.line)
      failure = "barrier divergence: threads of one block wait at different __syncthreads()," +
                at(line) + " and" + at(thread.line);
    line = thread.line;
  }
  if (alive != thread_count)
    failure = "barrier divergence: " + std::to_string(thread_count - alive) +
              " thread(s) of the block returned while " + std::to_string(alive) +
              " wait at __syncthreads()" + at(line);
}

// Whether all lanes that the thread's mask names have come to the same place.
bool meeting_is_complete(const Thread& thread) {
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

// Whether the thread belongs to the meeting of the last one that may go on.
bool meets_with(const std::vector<size_t>& may_go_on, const Thread& thread) {
  if (may_go_on.empty()) return false;
  const Thread& last = threads[may_go_on.back()];
  return last.rank / WARP == thread.rank / WARP && last.mask == thread.mask &&
         last.line == thread.line && (thread.mask >> thread.rank % WARP & 1);
}

// The threads that may go on, all others having to wait.
std::vector<size_t> released() {
  std::vector<size_t> result;
  unsigned alive = 0, at_barrier = 0;
  for (const Thread& thread : all_threads()) {
    alive += thread.state != State::done;
    at_barrier += thread.state == State::at_barrier;
  }
  if (alive && alive == at_barrier) {
    check_barrier(alive);
    for (Thread& thread : all_threads())
      if (thread.state == State::at_barrier) {
        ++thread.barriers;
        result.push_back(thread.rank);
      }
    return result;
  }
  int line = 0;
  for (Thread& thread : all_threads()) {
    if (thread.state != State::at_meeting) continue;
    line = thread.line;
    if (meets_with(result, thread) || meeting_is_complete(thread)) result.push_back(thread.rank);
  }
  for (size_t rank : result) {
    ++threads[rank].meetings;
    threads[rank].shown = threads[rank].exchanged;
  }
  turns_asleep = result.empty() ? turns_asleep + 1 : 0;
  for (Thread& thread : all_threads()) {
    if (thread.state != State::asleep) continue;
    line = thread.line;
    result.push_back(thread.rank);
  }
  if (alive && turns_asleep > MOST_ASLEEP)
    failure = "deadlock: a thread sleeps for what no block does," + at(line);
  if (alive && result.empty() && failure.empty())
    failure = "deadlock: a warp operation never gets all lanes of its mask" + at(line);
  return result;
}

// Runs every thread of the block until it waits or ends.
void start_block(const Launch& launch, size_t number, Random& random) {
  block_number = (unsigned)number;
  poison_shared(launch.shared);
  start_threads(launch, number);
  fiber_of.assign(thread_count, nullptr);
  to_start = arranged(thread_count, launch.order, random);
  next_to_start = 0;
  while (next_to_start < to_start.size() && failure.empty()) resume(idle_fiber());
}

// Lets those go on that may; false when the block has ended.
bool take_turn(const Launch& launch, Random& random) {
  std::vector<size_t> next = released();
  if (next.empty() || !failure.empty()) return false;
  for (size_t rank : next) threads[rank].state = State::ready;
  arrange(next, launch.order, random);
  for (size_t rank : next) {
    resume(fiber_of[rank]);
    if (!failure.empty()) return false;
  }
  return true;
}

void end_block(const Launch& launch) {
  if (!failure.empty())  // unwind what is suspended, so that destructors run
    for (Fiber* fiber : std::vector<Fiber*>(fiber_of))
      if (fiber) resume(fiber);
  if (failure.empty()) check_shared(launch.shared);
  if (failure.empty()) failure = first_race();
}

void fail_with(const std::string& where) {
  idle.clear();
  fibers.clear();
  throw Error(failure + where);
}

void run_one_after_another(const Launch& launch, Random& random) {
  for (size_t number : arranged(block_count(launch), launch.order, random)) {
    start_block(launch, number, random);
    while (failure.empty() && take_turn(launch, random)) {
    }
    end_block(launch);
    forget_shared();
    if (!failure.empty()) fail_with(" [block " + std::to_string(number) + "]");
  }
}

// A block that is not on: its threads and what they wait with. It has no shared memory.
struct Paused {
  std::vector<Thread> all;
  std::vector<Fiber*> fibers;
  unsigned number;
};

void turn_to(Paused& block) {
  threads = block.all.data();
  fiber_of.swap(block.fibers);
  block_number = block.number;
}

void run_side_by_side(const Launch& launch, Random& random) {
  std::vector<Paused> blocks(block_count(launch));
  for (size_t number : arranged(blocks.size(), launch.order, random)) {
    blocks[number] = {std::vector<Thread>(thread_count), {}, (unsigned)number};
    turn_to(blocks[number]);
    if (failure.empty()) start_block(launch, number, random);
    fiber_of.swap(blocks[number].fibers);
  }
  std::vector<size_t> unfinished = arranged(blocks.size(), 0, random);
  while (failure.empty() && !unfinished.empty()) {
    size_t& chosen = unfinished[random.below(unfinished.size())];
    Paused& block = blocks[chosen];
    turn_to(block);
    bool goes_on = take_turn(launch, random);
    fiber_of.swap(block.fibers);
    if (goes_on) continue;
    chosen = unfinished.back();
    unfinished.pop_back();
  }
  if (launch.shared || !static_shared_is_untouched())
    failure = "blocks side by side have no shared memory here";
  for (Paused& block : blocks) {
    turn_to(block);
    end_block(launch);
    fiber_of.swap(block.fibers);
  }
  if (!failure.empty()) fail_with(" [block " + std::to_string(block_number) + "]");
}

void run_blocks(const Launch& launch) {
  Random random(launch.seed);
  turns_asleep = 0;
  (launch.order == SIDE_BY_SIDE ? run_side_by_side : run_one_after_another)(launch, random);
}
}  // namespace cuda_on_cpu
