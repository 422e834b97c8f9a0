#include "session.h"
#include <algorithm>
#include <cstring>
#include <sstream>
#include <sys/mount.h>

namespace xos::checkpoint {
namespace {

Failure failure(const Conversation& conversation, const std::string& code, const std::string& why) {
  return {code, std::string("cannot ") + conversation.what + ": " + why, conversation.criu.logTail()};
}

std::string criuSays(const Conversation& conversation, const rpc::Response& response) {
  std::string lines = errorLines(conversation.criu.logTail());
  if (!lines.empty()) return lines;
  if (!response.criu_message.empty()) return response.criu_message;
  return response.criu_errno ? std::strerror(response.criu_errno) : "CRIU gave no reason";
}

}  // namespace

Fd makeScratch() {
  Fd context(fsopen("tmpfs", FSOPEN_CLOEXEC));
  if (!context || fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) < 0) return Fd();
  return Fd(fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

std::string errorLines(const std::string& log) {
  std::istringstream in(log);
  std::string text;
  int count = 0;
  for (std::string line; std::getline(in, line);) {
    size_t at = line.find("Error (");
    if (at == std::string::npos) continue;
    // Refused in containers without CAP_SYS_RESOURCE, and harmless: CRIU goes on with the limit it has.
    if (line.find("RLIMIT_NOFILE") != std::string::npos || line.find("Unable to create tun") != std::string::npos) continue;
    size_t colon = line.find("): ", at);
    if (colon == std::string::npos || ++count > 3) continue;
    if (!text.empty()) text += "; ";
    text += line.substr(colon + 3);
  }
  return text;
}

std::variant<rpc::Response, Failure> converse(Conversation& conversation, const std::string& request) {
  Stopwatch watch;
  if (!conversation.criu.send(request)) return failure(conversation, "XOS_CHECKPOINT_ENGINE", "CRIU ended before it was asked");
  std::optional<Failure> own;
  for (;;) {
    auto got = conversation.criu.receive(20);
    if (conversation.idle) conversation.idle();
    if (auto* end = std::get_if<Swrk::End>(&got)) {
      if (own) return *own;
      if (*end == Swrk::End::malformed) return failure(conversation, "XOS_CHECKPOINT_ENGINE", "CRIU's answer makes no sense");
      if (*end == Swrk::End::closed)
        return failure(conversation, "XOS_CHECKPOINT_ENGINE", "CRIU ended without an answer: " + criuSays(conversation, {}));
      if (watch.elapsedMs() >= static_cast<uint32_t>(conversation.timeout_ms))
        return failure(conversation, "XOS_CHECKPOINT_TIMEOUT",
                       "it took longer than " + std::to_string(conversation.timeout_ms / 1000) + " s and was given up");
      continue;
    }
    auto& message = std::get<Swrk::Message>(got);
    if (message.response.type != rpc::Type::notify) {
      if (own) return *own;
      if (!message.response.success)
        return failure(conversation, "XOS_CHECKPOINT_REFUSED", criuSays(conversation, message.response));
      return message.response;
    }
    auto trouble = conversation.notified(message.response, message.fd);
    if (trouble && !own) own = trouble;
    if (!conversation.criu.send(rpc::encodeNotifyAnswer(!trouble)) && own) return *own;
  }
}

}  // namespace xos::checkpoint
