// Small socket helpers of this folder.
#pragma once
#include <cstdint>
#include <netdb.h>
#include <string>
#include <unistd.h>

namespace xos::wire {

/// Numeric addresses of a host; freed with the object. Throws Error unreachable.
class AddressList {
 public:
  AddressList(const std::string& host, uint16_t port, bool passive);
  ~AddressList();
  AddressList(const AddressList&) = delete;
  AddressList& operator=(const AddressList&) = delete;
  const addrinfo* get() const { return list_; }
 private:
  addrinfo* list_ = nullptr;
};

/// No delay, keep-alive: a silent peer is found dead by the kernel after some 25 s.
void tune(int fd);

}  // namespace xos::wire
