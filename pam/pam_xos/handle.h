// The handle: what the agent gave for a right password, and takes once for opening the session.
#pragma once
#include "module.h"

/// Keeps a copy until the session opens. Returns a PAM status.
int xos_handle_keep(pam_handle_t *pamh, const struct xos_options *options, const char *handle);
/// Copies it into `out`; false when there is none. It stays kept, since a refused open may be tried again.
bool xos_handle_get(pam_handle_t *pamh, const struct xos_options *options, char *out, size_t size);
/// Wipes it everywhere.
void xos_handle_forget(pam_handle_t *pamh);
