// What the user reads, in the language of the system.
#pragma once
#include <stddef.h>

/// The translation of `text`, or `text` itself. Owned by the caller: free(). NULL without memory.
///
/// The language is what /etc/default/locale says (LC_ALL, LC_MESSAGES, LANG; locale(7)); the environment of the program that loaded us is
/// its caller's and is not asked. Catalogues are GNU gettext's (.mo) in /usr/lib/xos/locale. libintl's own look-up wants locales that
/// are installed, which small images lack, and reads LANGUAGE.
/// A translation whose conversions (%s …) are not those of `text` is not used.
char *xos_translate(const char *text);

/// For `__attribute__((cleanup(xos_text_drop)))`.
void xos_text_drop(char **text);
