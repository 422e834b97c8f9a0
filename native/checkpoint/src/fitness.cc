#include "engine.h"
#include "manifest.h"
#include <cstdio>
#include <cstring>
#include <sys/utsname.h>
#include <unistd.h>

namespace xos::checkpoint {
namespace {

std::string kernelHere() {
  utsname system{};
  return uname(&system) == 0 ? system.release : "";
}

/// "6.18.5-amd64" is 6018; 0 when it is none.
unsigned versionOf(const std::string& release) {
  unsigned major = 0, minor = 0;
  return std::sscanf(release.c_str(), "%u.%u", &major, &minor) == 2 ? major * 1000 + minor : 0;
}

Failure unfit(const std::string& code, const std::string& why) { return {"XOS_CHECKPOINT_" + code, why, ""}; }

}  // namespace

NodeFacts nodeFacts() { return {cpuFeatures(), kernelHere()}; }

std::optional<Failure> fitness(const std::vector<std::string>& cpu_features, const std::string& kernel) {
  if (access("/usr/sbin/criu", X_OK) < 0) return unfit("ENGINE", std::string("CRIU cannot be started there ('/usr/sbin/criu': ") + std::strerror(errno) + "); install the package criu");
  std::string list;
  for (auto& feature : missingFeatures(cpu_features)) list += (list.empty() ? "" : ", ") + feature;
  // Which of them the program has come to use nobody can tell: libc chooses its functions by them at the start.
  if (!list.empty()) return unfit("CPU", "its processor lacks " + list + ", which the job may use; choose a node with the same processor or a newer one");
  // An object that only the newer kernel knows would be found missing when the job stands already.
  if (versionOf(kernelHere()) < versionOf(kernel))
    return unfit("KERNEL", "it runs Linux " + kernelHere() + ", older than " + kernel + " where the job runs; choose a node with the same kernel or a newer one");
  return std::nullopt;
}

}  // namespace xos::checkpoint
