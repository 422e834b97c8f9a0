// Log lines on stderr, one write(2) each, with the priority prefix that journald reads (sd-daemon(3)).
#pragma once

namespace xos {

enum class Priority : int { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

/// Writes "<N>message\n"; control characters become '?', lines are cut at 4 KiB. Thread-safe. Debug lines only when XOS_DEBUG is set.
void log(Priority priority, const char* format, ...) __attribute__((format(printf, 2, 3)));

}  // namespace xos
