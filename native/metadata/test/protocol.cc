#include "protocol.h"

#include "test.h"

#include <random>

using namespace xos::fs;
using namespace xos::fs::metadata;

namespace {

template <typename Get>
void every_cut_is_malformed(const std::string& bytes, Get get) {
  for (size_t n = 0; n < bytes.size(); ++n) {
    Reader r(std::string_view(bytes).substr(0, n));
    CHECK_THROWS(get(r));
  }
  Reader whole(bytes);
  get(whole);
  CHECK_EQUAL(whole.left(), 0u);
}

}  // namespace

TEST("messages survive encoding and every cut of them is malformed") {
  Writer w;
  RequestHead h;
  h.sequence = 9;
  h.slot = 3;
  h.caller = {1000, 1001, true, {5, 6, 7}};
  put(w, h);
  every_cut_is_malformed(w.bytes(), [](Reader& r) { CHECK_EQUAL(get_head(r).caller.groups.size(), 3u); });
  w.clear();
  Attr a;
  a.id = 77;
  a.mtime_ns = -5;
  a.writers = writers_others;
  a.leased = 1;
  put(w, a);
  every_cut_is_malformed(w.bytes(), [](Reader& r) {
    Attr b = get_attr(r);
    CHECK_EQUAL(b.id, 77u);
    CHECK_EQUAL(b.mtime_ns, -5);
    CHECK_EQUAL(int(b.writers), 2);
    CHECK_EQUAL(int(b.leased), 1);
  });
  w.clear();
  Opened o{1ull << 40, 65536, 2, "body", {{"n1", {}}, {"n2", {}}}};
  put(w, o);
  every_cut_is_malformed(w.bytes(), [](Reader& r) { CHECK_EQUAL(get_opened(r).osds.size(), 2u); });
  w.clear();
  put(w, Lock{1, 1, 5, 9, 3, 4});
  every_cut_is_malformed(w.bytes(), [](Reader& r) { CHECK_EQUAL(get_lock(r).end, 9u); });
  w.clear();
  SetAttr s;
  s.size = 12;
  put(w, s);
  every_cut_is_malformed(w.bytes(), [](Reader& r) { CHECK_EQUAL(get_set_attr(r).size, 12u); });
}

TEST("locks that make no sense are malformed") {
  for (Lock l : {Lock{2, 0, 0, 1, 0, 0}, Lock{0, 3, 0, 1, 0, 0}, Lock{0, 0, 5, 4, 0, 0}}) {
    Writer w;
    put(w, l);
    Reader r(w.bytes());
    CHECK_THROWS(get_lock(r));
  }
}

TEST("random bytes never do more than throw") {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string bytes(random() % 200, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    for (int which = 0; which < 5; ++which) {
      Reader r(bytes);
      try {
        if (which == 0) get_head(r);
        if (which == 1) get_attr(r);
        if (which == 2) get_opened(r);
        if (which == 3) get_lock(r);
        if (which == 4) get_set_attr(r);
      } catch (const Malformed&) {
      }
    }
  }
}

TEST_MAIN
