// SPDX-License-Identifier: GPL-2.0
/* Stands where xexec is, and says what the module gave it. */
#define NAME "xexec"
#include "program.c"
