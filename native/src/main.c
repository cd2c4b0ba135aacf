/* nacelle-native: one static binary, its role in argv[1]. See ../README.md. */
#include <stdio.h>
#include <string.h>

#include "roles.h"

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
} roles[] = {
	{ "launcher", launcher_main },
	{ "unpack", unpack_main },
	{ "pause", pause_main },
	{ "probe", probe_main },
};

int main(int argc, char **argv)
{
	const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

	/* In a sandbox's root file system our copy is called by that name alone. */
	if (argc > 0 && strcmp(slash ? slash + 1 : argv[0], "pause") == 0 &&
	    !(argc > 1 && strcmp(argv[1], "probe") == 0))
		return pause_main(argc, argv);
	for (size_t i = 0; argc > 1 && i < sizeof(roles) / sizeof(roles[0]); i++)
		if (strcmp(argv[1], roles[i].name) == 0)
			return roles[i].main(argc, argv);
	fputs("usage: nacelle-native launcher RUNDIR EPOCH CGROUP | unpack DIR | pause | probe readonly|owned|whole PATH\n"
	      "It is started by nacelle; see native/README.md.\n", stderr);
	return 2;
}
