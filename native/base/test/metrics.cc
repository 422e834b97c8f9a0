#include "metrics.h"

#include <thread>
#include <vector>

#include "test.h"

using namespace xos::metrics;

TEST("a duration falls into the bucket whose bound it does not exceed") {
  Histogram h;
  for (uint64_t ns : {uint64_t{0}, uint64_t{8000}}) h.observe(ns);
  h.observe(8001);
  h.observe(16000);
  h.observe(16001);
  h.observe(~uint64_t{0} / 4);
  CHECK(h.in_bucket(0) == 2);
  CHECK(h.in_bucket(1) == 2);
  CHECK(h.in_bucket(2) == 1);
  CHECK(h.in_bucket(Histogram::buckets - 1) == 1);
  CHECK(h.count() == 6);
  for (unsigned b = 0; b + 1 < Histogram::buckets; ++b) {
    Histogram edge;
    edge.observe(Histogram::bound_ns(b));
    edge.observe(Histogram::bound_ns(b) + 1);
    CHECK(edge.in_bucket(b) == 1);
    CHECK(edge.in_bucket(b + 1) == 1);
  }
}

TEST("the text has cumulative buckets, seconds and escaped labels") {
  Histogram h;
  h.observe(1000);
  h.observe(20000);
  Text t;
  t.one("xos_x_total", "counter", "How many.", 7);
  t.family("xos_y", "gauge", "By name.").sample(1, {{"name", "a\"b\\c\nd"}, {"kind", "k"}});
  t.family("xos_z_seconds", "histogram", "How long.").histogram(h, {{"op", "read"}});
  std::string text = t.take();
  CHECK(text.find("# HELP xos_x_total How many.\n# TYPE xos_x_total counter\nxos_x_total 7\n") == 0);
  CHECK(text.find("xos_y{name=\"a\\\"b\\\\c\\nd\",kind=\"k\"} 1\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_bucket{op=\"read\",le=\"0.000008\"} 1\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_bucket{op=\"read\",le=\"0.000016\"} 1\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_bucket{op=\"read\",le=\"0.000032\"} 2\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_bucket{op=\"read\",le=\"8.388608\"} 2\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_bucket{op=\"read\",le=\"+Inf\"} 2\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_sum{op=\"read\"} 0.000021\n") != std::string::npos);
  CHECK(text.find("xos_z_seconds_count{op=\"read\"} 2\n") != std::string::npos);
}

TEST("nothing observed gives no samples, and a process knows its memory") {
  Text t;
  t.family("xos_z_seconds", "histogram", "How long.").histogram(Histogram{});
  CHECK(t.take() == "# HELP xos_z_seconds How long.\n# TYPE xos_z_seconds histogram\n");
  std::string text = Text{}.process("xos_x").take();
  CHECK(text.find("\nxos_x_process_resident_memory_bytes 0\n") == std::string::npos);
  CHECK(text.find("\nxos_x_process_resident_memory_bytes ") != std::string::npos);
  CHECK(text.find("\nxos_x_process_threads 1\n") != std::string::npos);
}

TEST("nothing is lost when several threads count") {
  Counter c;
  Histogram h;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 10000; ++n) {
        c.add();
        Timed timed(h);
      }
    });
  for (auto& t : threads) t.join();
  CHECK(c.value() == 40000);
  CHECK(h.count() == 40000);
}
