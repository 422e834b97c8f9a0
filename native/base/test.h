// A tiny test harness. One executable per part:
//
//   #include "test.h"
//   TEST("closes its descriptor once") { CHECK(…); CHECK_EQUAL(a, b); CHECK_THROWS(f()); SKIP("why"); }
//   TEST_MAIN
//
// A failed check prints file, line and values and ends its test; the executable exits 1 when a test failed. A name part as argument selects tests.
#pragma once
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace xos::test {

struct Failure { std::string what; };
struct Skipped { std::string why; };
struct Case { const char* name; void (*run)(); };

inline std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}
struct Register {
  Register(const char* name, void (*run)()) { cases().push_back({name, run}); }
};

template <typename T> std::string show(const T& value) {
  if constexpr (requires(std::ostringstream& out) { out << value; }) {
    std::ostringstream out;
    out << value;
    return out.str();
  } else {
    return "(value)";
  }
}
[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  throw Failure{std::string(file) + ":" + std::to_string(line) + ": " + what};
}

inline int run(int argc, char** argv) {
  int failed = 0, passed = 0, skipped = 0;
  for (const Case& test : cases()) {
    if (argc > 1 && !strstr(test.name, argv[1])) continue;
    try {
      test.run();
      passed++;
      printf("ok   %s\n", test.name);
    } catch (const Skipped& skip) {
      skipped++;
      printf("skip %s: %s\n", test.name, skip.why.c_str());
    } catch (const Failure& failure) {
      failed++;
      printf("FAIL %s\n     %s\n", test.name, failure.what.c_str());
    } catch (const std::exception& error) {
      failed++;
      printf("FAIL %s\n     threw: %s\n", test.name, error.what());
    }
    fflush(stdout);
  }
  printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed || passed + skipped == 0 ? 1 : 0;
}

}  // namespace xos::test

#define XOS_TEST_JOIN2(a, b) a##b
#define XOS_TEST_JOIN(a, b) XOS_TEST_JOIN2(a, b)
#define XOS_TEST(name, id)                                                    \
  static void id();                                                           \
  static ::xos::test::Register XOS_TEST_JOIN(id, _registered)(name, id);      \
  static void id()
#define TEST(name) XOS_TEST(name, XOS_TEST_JOIN(test_, __COUNTER__))
#define CHECK(condition) \
  do { if (!(condition)) ::xos::test::fail(__FILE__, __LINE__, "not true: " #condition); } while (0)
#define CHECK_EQUAL(left, right)                                                                                     \
  do {                                                                                                               \
    const auto xos_left = (left);                                                                                    \
    const auto xos_right = (right);                                                                                  \
    if (!(xos_left == xos_right))                                                                                    \
      ::xos::test::fail(__FILE__, __LINE__,                                                                          \
                        "not equal: " #left " = " + ::xos::test::show(xos_left) + ", " #right " = " + ::xos::test::show(xos_right)); \
  } while (0)
#define CHECK_THROWS(expression)                                                          \
  do {                                                                                    \
    bool xos_thrown = false;                                                              \
    try { (void)(expression); } catch (const ::std::exception&) { xos_thrown = true; }    \
    if (!xos_thrown) ::xos::test::fail(__FILE__, __LINE__, "did not throw: " #expression); \
  } while (0)
#define SKIP(why) throw ::xos::test::Skipped{why}
#define TEST_MAIN \
  int main(int argc, char** argv) { return ::xos::test::run(argc, argv); }
