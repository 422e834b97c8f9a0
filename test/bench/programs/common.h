// What the measuring programs share. They are linked statically, so that one binary runs in every root.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <string>
#include <vector>

namespace bench {

[[noreturn]] inline void die(const char* what, const std::string& on)
{
  fprintf(stderr, "cannot %s '%s': %s\n", what, on.c_str(), strerror(errno));
  exit(1);
}

inline double now_ms()
{
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

/// The q-quantile (0..1) of the samples by nearest rank.
inline double quantile(std::vector<double> samples, double q)
{
  if (samples.empty()) return 0;
  std::sort(samples.begin(), samples.end());
  return samples[std::min(samples.size() - 1, static_cast<size_t>(q * samples.size()))];
}

inline long number(const char* text, const char* what)
{
  char* end = nullptr;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (errno != 0 || end == text || *end != 0 || value < 0) {
    fprintf(stderr, "cannot read %s '%s': want a number of at least 0\n", what, text);
    exit(2);
  }
  return value;
}

}  // namespace bench
