// The process that stands at home for a job: forwards its streams, signals and window size, and ends as the job ended.
#pragma once
#include "program.h"

namespace xos::relay {

/// How an attempt to run the program elsewhere ended without having begun.
enum class NotStarted { no_relay, run_here };

/// Hands the program to the relay and stands for it. Returns only when the job did not begin and the program should run here instead (the relay is
/// not there, or says so); else ends the process as the job ended.
NotStarted run_there(Program& program, const char* session, const char* secret);

/// Becomes the proxy of a running job. Returns only when the relay is not there.
NotStarted attach(const char* job, Program& program, const char* session, const char* secret);

}  // namespace xos::relay
