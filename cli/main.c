#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/message.h"
#include "cli/options.h"
#include "cli/output.h"
#include "daemon/protocol.h"
#include "daemon/session.h"
#include "daemon/version.h"

const struct command *const command_all[] = {
	&command_run, &command_attach, &command_dump, &command_replay, &command_ps, NULL,
};

static void print_help(void)
{
	printf("usage: pyprof COMMAND [options] ...\n"
	       "\n"
	       "Look into running Python processes from outside.\n"
	       "\n"
	       "commands:\n");
	for (const struct command *const *c = command_all; *c; c++)
		printf("  %-8s %.*s\n", (*c)->name, (int)strcspn((*c)->about, "\n"), (*c)->about);
	printf("\n"
	       "options:\n"
	       "  -h, --help  show this help and exit; pyprof COMMAND -h for a command's\n"
	       "  --version   show the version and exit\n");
}

static const struct command *find_command(const char *name)
{
	for (const struct command *const *c = command_all; *c; c++)
		if (strcmp((*c)->name, name) == 0)
			return *c;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct command *command;
	struct options options;
	int status;

	if (session_is_wanted(argv))
		session_main(argv);
	if (argc < 2) {
		message("a command is missing; see: pyprof -h");
		return STATUS_USAGE;
	}
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0) {
		print_help();
		return output_flush_stdout();
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("pyprof %s\n", PYPROF_VERSION);
		return output_flush_stdout();
	}
	command = find_command(argv[1]);
	if (!command) {
		if (argv[1][0] == '-')
			message("options follow a command, and %s is before it; see: pyprof -h",
				message_text(argv[1]));
		else
			message("unknown command %s; see: pyprof -h", message_text(argv[1]));
		return STATUS_USAGE;
	}
	status = options_parse(&options, command, argc - 1, argv + 1);
	if (status)
		return status;
	if (options.help) {
		options_help(command);
		return output_flush_stdout();
	}
	status = command->exec(&options);
	pid_list_done(&options.pids);
	return status;
}
