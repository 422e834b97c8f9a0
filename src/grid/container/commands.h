#pragma once
#include "process.h"

namespace xos::container {

int hold(const Options& options);
int run(const Options& options);
/// Runs a command in a node, with the caller's own streams. Returns its shell status.
int enter(const Options& options);
/// Runs a command in a node on a fresh terminal there, relayed to the caller's. Returns its shell status.
int terminal(const Options& options);

/// Joins the namespaces of the node whose init is --pid with start time --start. Throws when it is gone.
void join_node(const Options& options);
/// In the child, after join_node and fork: the environment and identity of a fresh root process, then exec. Does not return.
[[noreturn]] void exec_in_node(const Options& options, int secret_fd);

}  // namespace xos::container
