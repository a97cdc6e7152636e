/* What a command is: one const entry at the end of its cli/cmd-*.c. */
#ifndef PYPROF_CLI_COMMAND_H
#define PYPROF_CLI_COMMAND_H

struct options;

struct command {
	const char *name;
	const char *usage;		/* what follows the name, in a usage line */
	const char *about;		/* lines; the first is a sentence by itself */
	const char *examples;		/* lines ended by newlines */
	unsigned groups;		/* of options that it takes: enum option_group */
	int operands_min, operands_max; /* max -1: any number */
	int failure; /* exit status of what fails before it is run, usage apart */
	/* Returns the exit status. */
	int (*exec)(const struct options *o);
};

extern const struct command command_run, command_attach, command_dump, command_replay, command_ps;

/* All of them, ended by NULL. */
extern const struct command *const command_all[];

#endif
