#include "metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

namespace xos::metrics {

namespace {

/// Seconds with the digits that nanoseconds have, without a locale's comma.
std::string seconds(uint64_t ns) {
  char text[40];
  snprintf(text, sizeof text, "%lu.%09lu", ns / 1000000000, ns % 1000000000);
  std::string s = text;
  s.erase(s.find_last_not_of('0') + 1);
  if (s.back() == '.') s.pop_back();
  return s;
}

void append_escaped(std::string& out, std::string_view value) {
  for (char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') out += "\\n";
    else out += c;
  }
}

uint64_t resident_bytes() {
  std::unique_ptr<FILE, int (*)(FILE*)> file(fopen("/proc/self/statm", "re"), fclose);
  unsigned long size = 0, resident = 0;
  if (!file || fscanf(file.get(), "%lu %lu", &size, &resident) != 2) return 0;
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

uint64_t entries_of(const char* directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> d(opendir(directory), closedir);
  uint64_t n = 0;
  while (d && readdir(d.get())) ++n;
  return n < 2 ? 0 : n - 2;
}

}  // namespace

uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_nsec);
}

void Histogram::observe(uint64_t ns) {
  unsigned bucket = 0;
  if (ns > bound_ns(0)) {
    bucket = 64 - static_cast<unsigned>(__builtin_clzll((ns - 1) / bound_ns(0)));
    if (bucket >= buckets) bucket = buckets - 1;
  }
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_ns_.fetch_add(ns, std::memory_order_relaxed);
}

uint64_t Histogram::count() const {
  uint64_t n = 0;
  for (auto& c : counts_) n += c.load(std::memory_order_relaxed);
  return n;
}

Text& Text::family(std::string_view name, std::string_view type, std::string_view help) {
  family_ = name;
  text_.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ").append(type).append("\n");
  return *this;
}

void Text::line(std::string_view suffix, Labels labels, std::string_view bound, const std::string& value) {
  text_.append(family_).append(suffix);
  if (labels.size() > 0 || !bound.empty()) {
    char separator = '{';
    auto put = [&](std::string_view name, std::string_view label) {
      text_ += separator;
      separator = ',';
      text_.append(name).append("=\"");
      append_escaped(text_, label);
      text_ += '"';
    };
    for (auto& [name, label] : labels) put(name, label);
    if (!bound.empty()) put("le", bound);
    text_ += '}';
  }
  text_.append(" ").append(value).append("\n");
}

Text& Text::sample(uint64_t value, Labels labels) {
  line("", labels, "", std::to_string(value));
  return *this;
}

Text& Text::histogram(const Histogram& h, Labels labels) {
  uint64_t counted = 0;
  // The sum first: what is observed meanwhile is then in the count and not in it, never the other way round.
  const uint64_t sum = h.sum_ns();
  std::array<uint64_t, Histogram::buckets> counts;
  for (unsigned b = 0; b < Histogram::buckets; ++b) counted += counts[b] = h.in_bucket(b);
  if (counted == 0) return *this;
  uint64_t below = 0;
  for (unsigned b = 0; b + 1 < Histogram::buckets; ++b) line("_bucket", labels, seconds(Histogram::bound_ns(b)), std::to_string(below += counts[b]));
  line("_bucket", labels, "+Inf", std::to_string(counted));
  line("_sum", labels, "", seconds(sum));
  line("_count", labels, "", std::to_string(counted));
  return *this;
}

Text& Text::process(std::string_view prefix) {
  const std::string p(prefix);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  auto ns = [](const timeval& t) { return static_cast<uint64_t>(t.tv_sec) * 1000000000 + static_cast<uint64_t>(t.tv_usec) * 1000; };
  one(p + "_process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM.", resident_bytes());
  family(p + "_process_cpu_seconds_total", "counter", "CPU time of the process, user and system.");
  line("", {}, "", seconds(ns(usage.ru_utime) + ns(usage.ru_stime)));
  one(p + "_process_open_fds", "gauge", "Open descriptors of the process.", entries_of("/proc/self/fd"));
  return one(p + "_process_threads", "gauge", "Threads of the process.", entries_of("/proc/self/task"));
}

}  // namespace xos::metrics
