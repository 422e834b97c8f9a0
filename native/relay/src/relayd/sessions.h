// The sessions that may start jobs through this relay, as xosd told us.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <sys/types.h>
#include <vector>

namespace xos::relay {

struct Session {
  std::string id, secret, user, vo, home, origin;  ///< secret: on the origin only
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  int64_t expires_ms = 0;  ///< since 1970
  int64_t added_ms = 0;    ///< when this relay was told of it, since 1970
};

class Sessions {
 public:
  void add(Session session) { sessions_[session.id] = std::move(session); }
  void remove(const std::string& id) { sessions_.erase(id); }
  /// Calls `each` with those that began on this node and are not over.
  template <typename Each> void each_own(int64_t now_ms, Each each) const {
    for (const auto& [id, session] : sessions_)
      if (!session.secret.empty() && session.expires_ms > now_ms) each(session);
  }
  /// Null when it is unknown or over.
  const Session* find(std::string_view id, int64_t now_ms) const {
    const auto found = sessions_.find(std::string(id));
    return found == sessions_.end() || found->second.expires_ms <= now_ms ? nullptr : &found->second;
  }
  /// The session of a proxy: right secret and right user, and opened on this node.
  const Session* prove(std::string_view id, std::string_view secret, uid_t uid, int64_t now_ms) const {
    const Session* session = find(id, now_ms);
    if (!session || session->secret.empty() || session->secret.size() != secret.size() || session->uid != uid) return nullptr;
    unsigned char differ = 0;  // no early end: the time taken must not tell how much was right
    for (size_t i = 0; i < secret.size(); i++) differ |= static_cast<unsigned char>(secret[i] ^ session->secret[i]);
    return differ ? nullptr : session;
  }

 private:
  std::map<std::string, Session> sessions_;
};

}  // namespace xos::relay
