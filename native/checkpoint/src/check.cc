#include "engine.h"
#include "tree.h"
namespace xos::checkpoint {
std::vector<Obstacle> check(pid_t root_pid, const std::vector<GivenStream>& streams) { (void)root_pid; (void)streams; return {}; }
}
