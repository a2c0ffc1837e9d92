// Preloaded into a server, lets a test set the server's clock: each clock of the wall is as
// many seconds ahead as the file named by INSULA_TEST_CLOCK says (eight bytes, in the
// machine's order).  Clocks that only count on are left alone.  (libfaketime will not do:
// what PostgreSQL 15's postmaster starts from its signal handlers escapes it.)
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

namespace {

std::int64_t seconds_ahead() {
  static const volatile std::int64_t* ahead = [] {
    const char* path = getenv("INSULA_TEST_CLOCK");
    const int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void* memory = file < 0 ? MAP_FAILED : mmap(nullptr, sizeof(std::int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (file >= 0) close(file);
    return memory == MAP_FAILED ? nullptr : static_cast<const volatile std::int64_t*>(memory);
  }();
  return ahead ? *ahead : 0;
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* at) noexcept {
  const long result = syscall(SYS_clock_gettime, clock, at);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += seconds_ahead();
  return static_cast<int>(result);
}

int gettimeofday(timeval* at, void*) noexcept {
  timespec now;
  const int result = clock_gettime(CLOCK_REALTIME, &now);
  if (result == 0) *at = {now.tv_sec, now.tv_nsec / 1000};
  return result;
}

time_t time(time_t* at) noexcept {
  timespec now;
  if (clock_gettime(CLOCK_REALTIME_COARSE, &now) != 0) return -1;
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
}
