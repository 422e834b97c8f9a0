// Percent-coding of the agent's socket: every byte outside [A-Za-z0-9@._:/+-] is written as %XX (docs/architecture.md).
#pragma once
#include <stddef.h>

/// Writes `text` percent-encoded and NUL-ended into `out` of `size` bytes.
/// Returns the length without the NUL, or -1 when it does not fit (then `out` holds an empty string, if size > 0).
long xos_percent_encode(char *out, size_t size, const char *text);

/// Decodes `text` in place. Strict: a byte that ought to be coded, a cut or odd escape and an encoded NUL are refused.
/// Returns the new length, or -1 with `text` in an unspecified but NUL-ended state.
long xos_percent_decode(char *text);
