// relayd.ctl: what xosd tells the relay and asks it (docs/architecture.md, "Control operations").
#pragma once
#include "control.h"
#include "far.h"
#include "home.h"
#include "peers.h"

namespace xos::relay {

/// Everything of a relay, in the order in which it is made.
struct Parts {
  Loop& loop;
  Sessions& sessions;
  Placer& placer;
  Peers& peers;
  Home& home;
  Far& far;
  Cells& cells;
  std::string node, vo;
  std::function<void()> sessions_changed;
};

/// Serves one request on the control thread; the work is done in the loop.
void serve_control(Parts& parts, const std::string& op, const nlohmann::json& request, ControlServer::Reply reply, ControlServer::Fail fail);

}  // namespace xos::relay
