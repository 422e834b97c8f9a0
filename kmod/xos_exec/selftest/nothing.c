// SPDX-License-Identifier: GPL-2.0
/* Does nothing, for cost.c. */
int main(void)
{
	return 0;
}
