// Counters of a daemon, and their text in Prometheus' exposition format (text version 0.0.4).
//
// Counting is for hot paths: a relaxed addition to memory that nobody waits for. Reading is rare and may see a histogram between two of its
// additions; the text says then what was complete.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace xos::metrics {

class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

/// Durations in buckets of powers of two, from 8 µs to 8.4 s.
class Histogram {
 public:
  static constexpr unsigned buckets = 22;  ///< the last one is everything longer
  /// Upper bound of a bucket in nanoseconds; of all but the last.
  static constexpr uint64_t bound_ns(unsigned bucket) { return uint64_t{8000} << bucket; }
  void observe(uint64_t ns);
  uint64_t count() const;
  uint64_t sum_ns() const { return sum_ns_.load(std::memory_order_relaxed); }
  uint64_t in_bucket(unsigned bucket) const { return counts_[bucket].load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<uint64_t>, buckets> counts_{};
  std::atomic<uint64_t> sum_ns_{0};
};

/// Nanoseconds of the monotonic clock.
uint64_t now_ns();

/// Observes how long it lived.
class Timed {
 public:
  explicit Timed(Histogram& histogram) : histogram_(histogram), began_ns_(now_ns()) {}
  ~Timed() { histogram_.observe(now_ns() - began_ns_); }
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;

 private:
  Histogram& histogram_;
  uint64_t began_ns_;
};

using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

/// Builds the text. A family is begun once, its samples follow; names are given whole (`xos_osd_read_bytes_total`).
class Text {
 public:
  Text& family(std::string_view name, std::string_view type, std::string_view help);
  Text& sample(uint64_t value, Labels labels = {});
  /// Cumulative buckets, sum (seconds) and count; nothing when nothing was observed.
  Text& histogram(const Histogram& h, Labels labels = {});
  /// A family with one sample.
  Text& one(std::string_view name, std::string_view type, std::string_view help, uint64_t value) { return family(name, type, help).sample(value); }
  /// Memory, CPU time, descriptors and threads of this process as `<prefix>_process_…`.
  Text& process(std::string_view prefix);
  std::string take() { return std::move(text_); }

 private:
  void line(std::string_view suffix, Labels labels, std::string_view bound, const std::string& value);
  std::string text_, family_;
};

}  // namespace xos::metrics
