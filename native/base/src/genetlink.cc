#include "genetlink.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/time.h>

namespace xos {

void Attributes::put(uint16_t type, const void* data, size_t size) {
  const nlattr head{static_cast<uint16_t>(NLA_HDRLEN + size), type};
  const auto* raw = reinterpret_cast<const uint8_t*>(&head);
  bytes_.insert(bytes_.end(), raw, raw + sizeof head);
  const auto* from = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), from, from + size);
  bytes_.resize(NLA_ALIGN(bytes_.size()));
}

void Attributes::put_text(uint16_t type, std::string_view text) {
  const std::string ended(text);
  put(type, ended.c_str(), ended.size() + 1);
}

size_t Attributes::begin_nest(uint16_t type) {
  const size_t at = bytes_.size();
  put(static_cast<uint16_t>(type | NLA_F_NESTED), nullptr, 0);
  return at;
}

bool Attributes::end_nest(size_t at) {
  const size_t length = bytes_.size() - at;
  if (length > UINT16_MAX) return false;
  const auto value = static_cast<uint16_t>(length);
  memcpy(bytes_.data() + at, &value, sizeof value);
  return true;
}

void each_attribute(std::string_view bytes, const std::function<void(uint16_t, std::string_view)>& each) {
  while (bytes.size() >= NLA_HDRLEN) {
    nlattr head;
    memcpy(&head, bytes.data(), sizeof head);
    if (head.nla_len < NLA_HDRLEN || head.nla_len > bytes.size()) return;
    each(head.nla_type & NLA_TYPE_MASK, bytes.substr(NLA_HDRLEN, head.nla_len - NLA_HDRLEN));
    bytes.remove_prefix(std::min<size_t>(NLA_ALIGN(head.nla_len), bytes.size()));
  }
}

int Genetlink::open(const char* family) {
  fd_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!fd_) return errno;
  const timeval limit{2, 0};
  const int yes = 1;
  setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &yes, sizeof yes);
  setsockopt(fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &yes, sizeof yes);
  Attributes name;
  name.put_text(CTRL_ATTR_FAMILY_NAME, family);
  family_ = 0;
  int error = transact(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK, name, [this](std::string_view attributes) {
    each_attribute(attributes, [this](uint16_t type, std::string_view value) {
      if (type == CTRL_ATTR_FAMILY_ID && value.size() == 2) memcpy(&family_, value.data(), 2);
    });
  }, nullptr);
  if (error == 0 && family_ == 0) error = ENOENT;
  if (error) fd_.reset();
  return error;
}

int Genetlink::request(uint8_t command, const Attributes& attributes, std::string* message, const std::function<void(std::string_view)>& each) {
  return transact(family_, command, NLM_F_ACK, attributes, each ? each : [](std::string_view) {}, message);
}

int Genetlink::dump(uint8_t command, const std::function<void(std::string_view)>& each) {
  return transact(family_, command, NLM_F_DUMP, {}, each, nullptr);
}

int Genetlink::transact(uint16_t family, uint8_t command, uint16_t flags, const Attributes& attributes, const std::function<void(std::string_view)>& each, std::string* message) {
  std::vector<uint8_t> out(NLMSG_HDRLEN + GENL_HDRLEN);
  const nlmsghdr head{static_cast<uint32_t>(out.size() + attributes.size()), family, static_cast<uint16_t>(NLM_F_REQUEST | flags), ++sequence_, 0};
  const genlmsghdr inner{command, 1, 0};
  memcpy(out.data(), &head, sizeof head);
  memcpy(out.data() + NLMSG_HDRLEN, &inner, sizeof inner);
  out.insert(out.end(), attributes.data(), attributes.data() + attributes.size());
  if (send(fd_.get(), out.data(), out.size(), 0) < 0) return errno;
  std::vector<char> in(64 << 10);
  for (;;) {
    const ssize_t got = recv(fd_.get(), in.data(), in.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN ? ETIMEDOUT : errno;
    std::string_view rest(in.data(), got);
    while (rest.size() >= NLMSG_HDRLEN) {
      nlmsghdr answer;
      memcpy(&answer, rest.data(), sizeof answer);
      if (answer.nlmsg_len < NLMSG_HDRLEN || answer.nlmsg_len > rest.size()) break;
      const std::string_view body = rest.substr(NLMSG_HDRLEN, answer.nlmsg_len - NLMSG_HDRLEN);
      rest.remove_prefix(std::min<size_t>(NLMSG_ALIGN(answer.nlmsg_len), rest.size()));
      if (answer.nlmsg_seq != sequence_) continue;  // late word of a request that was given up
      if (answer.nlmsg_type == NLMSG_DONE) return 0;
      if (answer.nlmsg_type != NLMSG_ERROR) {
        if (body.size() >= GENL_HDRLEN) each(body.substr(GENL_HDRLEN));
        continue;
      }
      int error = 0;
      if (body.size() >= sizeof error) memcpy(&error, body.data(), sizeof error);
      if (message && (answer.nlmsg_flags & NLM_F_ACK_TLVS) && body.size() > sizeof(nlmsgerr))
        each_attribute(body.substr(sizeof(nlmsgerr)), [message](uint16_t type, std::string_view value) {
          if (type == NLMSGERR_ATTR_MSG) message->assign(value.data(), strnlen(value.data(), value.size()));
        });
      return -error;
    }
  }
}

}  // namespace xos
