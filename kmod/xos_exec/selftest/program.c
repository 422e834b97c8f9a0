// SPDX-License-Identifier: GPL-2.0
/* What the tests execute, under several names: says who it is and how it was called, one word a line. interpreter.c is the same with another name. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#ifndef NAME
#define NAME NULL
#endif

int main(int argc, char **argv)
{
	const char *name = NAME, *called = (const char *)getauxval(AT_EXECFN);
	int i;

	/* With XOS_TEST_HERE the interpreter executes what it was given, as xexec does when it decides for here. */
	if (name && getenv("XOS_TEST_HERE") && argc > 2 && !strcmp(argv[0], "xos_exec")) {
		execv(argv[1], argv + 2);
		perror("execv");
		return 126;
	}
	if (!name)
		name = strrchr(called, '/') ? strrchr(called, '/') + 1 : called;
	printf("%s%s\n", name, getauxval(AT_FLAGS) & 1 ? " interpreter" : "");
	for (i = 0; i < argc; i++)
		printf("%s\n", argv[i]);
	return 0;
}
