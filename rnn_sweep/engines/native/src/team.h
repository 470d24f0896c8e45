// Threads that work through the same function together, and meet at barriers.
#pragma once
#include <pthread.h>
#include <sched.h>
#include "vector.h"

struct Team {
  int64_t count;
  int64_t arrived, turn, next;  // next: the next chunk that nobody has taken
};

INLINE void pause_core() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

// Waits until all have come; the last one calls `then` before any goes on. Waits are short, so that a thread spins, but
// gives the core away where the machine has other work.
template <class F> INLINE void meet(Team& team, F then) {
  if (team.count == 1) return then();
  const int64_t turn = __atomic_load_n(&team.turn, __ATOMIC_ACQUIRE);
  if (__atomic_add_fetch(&team.arrived, 1, __ATOMIC_ACQ_REL) == team.count) {
    team.arrived = 0;
    then();
    __atomic_store_n(&team.turn, turn + 1, __ATOMIC_RELEASE);
    return;
  }
  for (long spins = 0; __atomic_load_n(&team.turn, __ATOMIC_ACQUIRE) == turn; spins++) {
    if (spins < 4000) pause_core();
    else sched_yield();
  }
}

INLINE int64_t take(Team& team) { return __atomic_fetch_add(&team.next, 1, __ATOMIC_RELAXED); }

typedef void (*Job)(void* what, int64_t thread);

struct Member {
  Job job;
  void* what;
  int64_t thread;
};

static void* run_member(void* pointer) {
  const Member& member = *(const Member*)pointer;
  member.job(member.what, member.thread);
  return nullptr;
}

constexpr long MOST_THREADS = 64;

// Runs job(what, i) for i < count at the same time; false if a thread could not be started, and then nothing was run.
static bool run_together(Job job, void* what, Team& team) {
  pthread_t threads[MOST_THREADS];
  Member members[MOST_THREADS];
  if (team.count == 1) return job(what, 0), true;
  // Threads that have started wait at the first barrier, whose size is settled when all others have been tried.
  int64_t started = 1;
  for (; started < team.count; started++) {
    members[started] = {job, what, started};
    if (pthread_create(&threads[started], nullptr, run_member, &members[started])) break;
  }
  __atomic_store_n(&team.count, started, __ATOMIC_RELEASE);
  job(what, 0);
  for (int64_t i = 1; i < started; i++) pthread_join(threads[i], nullptr);
  return true;
}
