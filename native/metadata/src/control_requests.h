// Operations of the control socket (README.md): what xosd and the tests ask of the MRC.
#pragma once
#include <string>

#include "engine.h"
#include "janitor.h"
#include "json.h"
#include "mirrors.h"
#include "mover.h"
#include "osd_table.h"
#include "replicator.h"
#include "sessions.h"
#include "snapshotter.h"
#include "sweeper.h"
#include "transfers.h"
#include "store.h"

namespace xos::fs::metadata {

struct Mrc {
  Store& store;
  Engine& engine;
  Sessions& sessions;
  OsdTable& osds;
  Janitor& janitor;
  Sweeper& sweeper;
  Mover& mover;
  Replicator& replicator;
  Snapshotter& snapshotter;
  Mirrors& mirrors;
  Service& service;
  Transfers& transfers;
};

/// Throws CodedError, and json::exception for a request that is not as documented.
nlohmann::json answer_control(Mrc& mrc, const std::string& op, const nlohmann::json& request);

}  // namespace xos::fs::metadata
